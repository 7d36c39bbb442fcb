"""The numbers that the paper reports: Tables 1–7, and pairs of accuracy and F1."""

import pandas as pd

from ccb_lib.io.project_data import project_data
from ccb_lib.reproduction.registry import table_spec


def reported(table: int, *, long: bool = False) -> pd.DataFrame:
    """Read a results table as the paper prints it.

    Args:
        table: 1 to 7. Table 1 holds AUCs, Tables 2, 4 and 6 accuracies, Tables 3, 5 and 7 F1
            scores, all 0…1, higher is better.
        long: Return one row per number, for joining and plotting, instead of the table's own
            shape.

    Returns:
        Rows and columns in the paper's order. As a table: float64, one column per abnormal class,
        one row per method. In Tables 6 and 7, one row per chain, from shallow to deep, such as
        ``4-3-2-1`` (the paper prints deep to shallow). In long form: columns ``dataset``,
        ``metric``, ``method``, ``abnormal``, ``value`` and ``source="reported"``; Tables 6 and 7
        add ``chain`` and ``printed_chain``.

    Raises:
        ValueError: The paper has no results table with that number.
        FileNotFoundError: The tables are neither in the installed package nor in the repository.

    Example:
        >>> float(reported(4).loc["CCB", "bcc"])
        0.973
    """
    spec = table_spec(table, paper=True)
    wide = pd.read_csv(project_data("paper") / f"table{table}.csv")
    if not long:
        return wide.set_index(wide.columns[0]).drop(columns="printed_chain", errors="ignore")
    home = {name: dataset for dataset, names in spec.classes.items() for name in names}
    rows = wide.assign(method="CCB") if "chain" in wide else wide
    keys = [column for column in ("method", "chain", "printed_chain") if column in rows]
    tall = rows.melt(keys, spec.all_classes, "abnormal", ignore_index=False).sort_index(
        kind="stable"
    )
    tall = tall.assign(dataset=tall["abnormal"].map(home), metric=spec.metric, source="reported")
    return tall[["dataset", "metric", *keys, "abnormal", "value", "source"]].reset_index(drop=True)


def reported_pairs(*, ablation: bool = False) -> pd.DataFrame:
    """Join reported accuracies and F1 scores, cell by cell.

    Args:
        ablation: ``False`` for the 40 pairs of Tables 2–5; ``True`` for the 32 pairs of Tables 6–7
            that are not among those 40. All 32 belong to CCB with longer chains.

    Returns:
        Columns ``dataset``, ``method``, ``chain`` (empty in Tables 2–5), ``abnormal``,
        ``accuracy``, ``f1``.
    """
    couples = ((6, 7),) if ablation else ((2, 3), (4, 5))
    cell = ["dataset", "method", "chain", "abnormal"]
    joined = []
    for couple in couples:
        # Tables 2 to 5 have no chain. An empty default adds the column where it is missing.
        accuracy, f1 = (
            {"chain": ""} | reported(table, long=True).to_dict("series") for table in couple
        )
        both = pd.DataFrame(accuracy).merge(pd.DataFrame(f1), on=cell, validate="one_to_one")
        joined.append(both.rename(columns={"value_x": "accuracy", "value_y": "f1"}))
    pairs = pd.concat(joined, ignore_index=True)[[*cell, "accuracy", "f1"]]
    return pairs[pairs["chain"] != "4-3-2-1"].reset_index(drop=True)
