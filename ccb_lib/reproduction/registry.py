"""The registry of tables: data sets, classes, methods, measure and file of each table and study."""

from dataclasses import dataclass

from ccb_lib.datasets import cifar10, ham10000, ild

PAPER_METHODS = ("anogan", "egbad", "ganomaly", "skip-ganomaly", "ccb")
# CCB fork is the likeliest original implementation; the paper reports no number of it.
NETWORK_METHODS = (*PAPER_METHODS, "ccb-fork")
TRIVIAL_METHODS = ("pca", "mean-intensity", "png-bytes", "nearest-neighbours")
CHAINS = ((4, 3, 2, 1), (8, 6, 4, 2), (16, 12, 8, 4), (24, 18, 12, 6), (32, 24, 16, 8))
# The abnormal classes of each data set, in the paper's order.
CLASSES = {
    "cifar10": cifar10.CLASSES,
    "ild": ild.PAPER_CLASSES,
    "ham10000": ham10000.RARE,
}


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """What a table of the paper, or a study, consists of.

    Attributes:
        name: 1 to 7, or the name of a study.
        file: Name of its file in ``data/results``, without ending.
        classes: The abnormal classes by data set, in the paper's order.
        methods: Names in `METHODS`.
        metric: The measure of its cells: ``"auc"``, ``"accuracy"`` or ``"f1"``.
        chains: The chains that it compares, from shallow to deep; empty if it compares methods.
        seeds: The planned number of seeds.

    Example:
        >>> TABLES[5].metric, TABLES[5].datasets, TABLES[5].row
        ('f1', ('ham10000',), 'method')
    """

    name: int | str
    file: str
    classes: dict[str, tuple[str, ...]]
    methods: tuple[str, ...] = (*NETWORK_METHODS, *TRIVIAL_METHODS)
    metric: str = "auc"
    chains: tuple[tuple[int, ...], ...] = ()
    seeds: int = 1

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names for `load_dataset`."""
        return tuple(self.classes)

    @property
    def all_classes(self) -> list[str]:
        """The classes of all its data sets, in the order of its columns."""
        return [name for classes in self.classes.values() for name in classes]

    @property
    def row(self) -> str:
        """What a row is: ``"chain"`` or ``"method"``."""
        return "chain" if self.chains else "method"


def _of(*datasets: str) -> dict[str, tuple[str, ...]]:
    return {name: CLASSES[name] for name in datasets}


_CHAINS = {"file": "tables6-7", "classes": _of("ild", "ham10000"), "methods": ("ccb",)}
TABLES: dict[int | str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec(name=1, file="table1", classes=_of("cifar10")),
        TableSpec(name=2, file="tables2-3", classes=_of("ild"), metric="accuracy"),
        TableSpec(name=3, file="tables2-3", classes=_of("ild"), metric="f1"),
        TableSpec(name=4, file="tables4-5", classes=_of("ham10000"), metric="accuracy"),
        TableSpec(name=5, file="tables4-5", classes=_of("ham10000"), metric="f1"),
        TableSpec(name=6, metric="accuracy", chains=CHAINS, **_CHAINS),
        TableSpec(name=7, metric="f1", chains=CHAINS, **_CHAINS),
        TableSpec(
            name="skips",
            file="studies",
            classes=_of("cifar10", "ham10000"),
            methods=("ccb",),
            seeds=8,
        ),
        TableSpec(
            name="ablation",
            file="studies",
            classes={"cifar10": ("bird", "truck"), "ham10000": CLASSES["ham10000"]},
            methods=("ccb",),
        ),
        TableSpec(name="lung-ct-98", file="lung-ct-98", classes={"ild": ("ground_glass",)}),
    )
}
PAPER_TABLES = tuple(name for name in TABLES if isinstance(name, int))
STUDIES = tuple(name for name in TABLES if isinstance(name, str))


def table_spec(table: int | str, *, paper: bool = False) -> TableSpec:
    """Return the entry of a table or study; with ``paper`` of Tables 1 to 7 only.

    Raises:
        ValueError: There is no such table or study.

    Example:
        >>> table_spec(1).file
        'table1'
    """
    if isinstance(table, bool) or table not in (PAPER_TABLES if paper else TABLES):
        of_all = f"one of {', '.join(map(str, TABLES))}"
        needed = "one of the paper's Tables 1 to 7" if paper else of_all
        raise ValueError(f"table={table!r} given; {needed} is needed.")
    return TABLES[table]
