"""The document laid out for a person to read."""

from collections.abc import Iterator

from worker.stream_evaluation.attributes import ATTRIBUTES
from worker.stream_evaluation.bootstrap import NOTHING, Figure
from worker.stream_evaluation.report import Document

Column = tuple[str, str, str]
"""Heading, group ("" where there is none) and figure."""

_CLICKS: tuple[Column, ...] = (
    ("hr@10", "overall", "hr@10"),
    ("mrr@10", "overall", "mrr@10"),
    ("ndcg@10", "overall", "ndcg@10"),
    ("ndcg, first 5", "first_five", "ndcg@10"),
    ("ndcg, later", "later", "ndcg@10"),
)
_IMPRESSIONS: tuple[Column, ...] = (
    ("AUC", "impressions", "auc"),
    ("MRR", "impressions", "mrr"),
    ("nDCG@5", "impressions", "ndcg@5"),
    ("nDCG@10", "impressions", "ndcg@10"),
)
_PAGES: tuple[Column, ...] = (
    ("coverage@10", "", "coverage@10"),
    ("novelty, bits", "", "novelty"),
    ("diversity", "", "intra_list_diversity"),
    ("tag KL, nats", "", "tag_calibration"),
)
_LESS_IS_BETTER = frozenset({"tag_calibration"})
_CELL = 22


def as_table(document: Document) -> str:
    """Lay out all figures with their 95 % intervals; the best of a column has a star."""
    rows = {"model": document["model"], **document["baselines"]}
    rows |= {
        f"with {name}" if name in ATTRIBUTES else f"without {name}": figures
        for name, figures in document["ablations"].items()
    }
    head = (
        f"{document['dataset']}, {document['protocol']}: "
        f"{document['num_scored']:,} scored clicks; * the best of its column"
    )
    blocks = [
        [head],
        _block("clicks", _CLICKS, rows),
        _block("impressions", _IMPRESSIONS, rows),
        _block("pages", _PAGES, rows),
    ]
    return "\n\n".join("\n".join(block) for block in map(list, blocks) if block)


def _block(title: str, columns: tuple[Column, ...], rows: dict[str, Document]) -> Iterator[str]:
    values = {
        column: [
            value for row in rows.values() if (value := _get(row, column)["value"]) is not None
        ]
        for column in columns
    }
    columns = tuple(column for column in columns if values[column])
    if not columns:
        return
    best = {
        column: (min if column[2] in _LESS_IS_BETTER else max)(values[column]) for column in columns
    }
    width = max(len(name) for name in (title, *rows))
    yield f"{title:<{width}}" + "".join(f"{column[0]:>{_CELL}}" for column in columns)
    for name, row in rows.items():
        cells = (_cell(_get(row, column), best[column]) for column in columns)
        yield f"{name:<{width}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)


def _get(row: Document, column: Column) -> Figure:
    _, group, name = column
    held: dict[str, Figure] = row.get(group, {}) if group else row
    return held.get(name, NOTHING)


def _cell(figure: Figure, best: float) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or low is None or high is None:
        return "-"
    star = "*" if value == best else " "
    return f"{value:.3f}{star} {low:.3f}-{high:.3f}"
