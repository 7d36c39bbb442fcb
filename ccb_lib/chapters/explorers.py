"""Threshold explorers of stored results, with a choice of method and class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import Markdown

from ccb_lib.chapters.results import note
from ccb_lib.chapters.table_settings import settings_run
from ccb_lib.chapters.verdict import with_enough_seeds
from ccb_lib.evaluation.protocols import CLEAN, Protocol
from ccb_lib.explorer.widget import ThresholdExplorer
from ccb_lib.metrics import oracle_f1
from ccb_lib.reproduction.comparisons import arm_table, at_setting, study_frame
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import TABLES, TRIVIAL_METHODS
from ccb_lib.reproduction.results import load_results, threshold_of, with_scores
from ccb_lib.reproduction.settings import PAPER, at_settings, described, of_images


def results_explorer(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> ThresholdExplorer | Markdown:
    """Return a threshold explorer of a table, with a choice of method (or chain) and class.

    It opens on the first class of CCB, where CCB was run.

    Args:
        number: Table 1 to 7.
        protocol: The evaluation protocol.
        settings: As for `explorer_cells`; by default all settings of `settings_run`.
        folder: Folder of the results; ``data/results`` by default.
        options: Further arguments of `ThresholdExplorer.from_table`, such as another ``choice``.

    Returns:
        The explorer; a line with the command that runs the table if nothing was run.

    Example:
        >>> results_explorer(4, folder="/nowhere").data.startswith("*Not run yet.")
        True
    """
    settings = settings_run(number, folder=folder) if settings is None else settings
    cells = explorer_cells(number, protocol=protocol, settings=settings, folder=folder)
    if not cells:
        return note(number)
    # At settings other than the paper's the name is longer: "CCB, 50 epochs, width 8".
    ours = next((key for key in cells if key[0].split(",")[0] == display_name("ccb")), None)
    return ThresholdExplorer.from_table(
        cells, axes=(TABLES[number].row.title(), "Class"), **{"choice": ours, **options}
    )


def explorer_cells(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] = PAPER,
    methods: Iterable[str] | None = None,
    folder: str | Path | None = None,
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, dict[str, float]]]:
    """Collect scores, labels and named thresholds for `ThresholdExplorer.from_table`.

    Args:
        number: Table 1 to 7.
        protocol: The evaluation protocol.
        settings: Settings of the runs, one or several. With several, the names of methods at
            settings other than the paper's include the settings, such as "CCB, 50 epochs, width 8".
        methods: The methods to include; all by default.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        (scores, labels, thresholds by name) for each (method, class), in Tables 6–7 for each
        (chain, class). Networks come first, in decreasing order of the number of classes run;
        classes are in the paper's order. Each cell has the run with the lowest seed. Cells that
        were not run are left out.

    Example:
        >>> ("PCA", "df") in explorer_cells(4)
        True
    """
    several = [settings] if isinstance(settings, Mapping) else list(settings)
    spec = TABLES[number]
    wanted = list(spec.methods if methods is None else methods)
    classes = spec.all_classes
    stored = load_results(number, protocols=(protocol,), folder=folder).sort_values(
        "seed", kind="stable"
    )
    cells, trivial = {}, {}
    for chosen in several:
        frame = at_settings(stored, chosen)
        frame = frame[frame["method"].isin(wanted) & frame["abnormal"].isin(classes)]
        frame = frame.drop_duplicates([spec.row, "abnormal"])
        order = {"method": wanted.index, "abnormal": classes.index, "chain": _length}
        frame = frame.sort_values(list(order), key=lambda of: of.map(order[of.name]), kind="stable")
        for line, scored, tests, scores in with_scores(number, frame, (protocol,), folder):
            thresholds = {"oracle F1": oracle_f1(scores, tests.labels)}
            if scored.calibration is not None:
                phi = threshold_of(scored, tests, CLEAN, line.alpha)
                thresholds = {"normal 95 %": phi, **thresholds}
            name = f"{line.chain} blocks" if spec.chains else display_name(line.method)
            without_network = line.method in TRIVIAL_METHODS
            if len(several) > 1 and (
                of_images(chosen) != of_images(PAPER) if without_network else chosen != PAPER
            ):
                name += f", {described(of_images(chosen) if without_network else chosen)}"
            (trivial if without_network else cells)[name, display_name(line.abnormal)] = (
                scores,
                tests.labels,
                thresholds,
            )
    # The explorer lists classes in the order in which it meets them. With the networks of most
    # classes first, that is the paper's order.
    counts = Counter(name for name, _ in cells)
    return dict(sorted(cells.items(), key=lambda item: -counts[item[0][0]])) | trivial


def arm_cells(
    study: str, folder: str | Path | None = None
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, dict[str, float]]]:
    """Collect stored scores of a study under CLEAN, as `explorer_cells` does for a table.

    Args:
        study: Name of a study in `ccb_lib.reproduction.studies.STUDIES`.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        (scores, labels, thresholds by name) for each (arm, class), of the lowest seed at the first
        setting that was run. Networks with fewer seeds than `with_enough_seeds` needs are left out,
        as in the tables. Empty if the study was not run.

    Example:
        >>> ("mean intensity", "ground glass") in arm_cells("lung-ct-98")
        True
    """
    tables = arm_table(study, folder)
    if not tables:
        return {}
    setting, table = next(iter(tables.items()))
    shown = with_enough_seeds(table)[0].index
    frame = at_setting(study_frame(study, folder), setting).sort_values("seed", kind="stable")
    frame = frame[frame["arm"].isin(shown)]
    frame = frame.drop_duplicates(["arm", "abnormal"])
    cells = {}
    for line, scored, tests, scores in with_scores(study, frame, folder=folder):
        thresholds = {}
        if scored.calibration is not None:
            thresholds["normal 95 %"] = threshold_of(scored, tests, CLEAN, line.alpha)
        cells[display_name(line.arm), display_name(line.abnormal)] = (
            scores,
            tests.labels,
            thresholds,
        )
    return cells


def _length(chain: str | None) -> int:
    """Return the number of blocks in the first of four chains, the sort key; 0 without chains."""
    first = (chain or "").split("-")[0]
    return int(first) if first.isdigit() else 0
