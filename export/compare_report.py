"""A comparison for people and machines: means over seeds, and each head beside its twin."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from export.compare import Run
from export.variants import Variant

STARVED = 0.98
"""A head below this share of its single-task twin's score counts as starved."""


class Column(NamedTuple):
    """A figure of the table."""

    head: str
    figure: str
    title: str
    digits: int
    more_is_better: bool


COLUMNS = (
    Column("gender", "auc", "gender auc", 3, True),
    Column("gender", "accuracy", "accuracy", 3, True),
    Column("gender", "log_loss", "log-loss", 3, False),
    Column("age", "mae", "age mae", 2, False),
    Column("age", "r", "r", 3, True),
    Column("income", "log_loss", "income log-loss", 3, False),
)


def summary(variants: Sequence[Variant], runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return one record per variant: figures as {"mean", "sd", "share"}, costs, errors.

    `sd` is over the seeds, null of one. `share` is the score as a share of the single-task
    twin's, where one was trained: score / twin, for losses and errors twin / score.
    """
    of: dict[str, list[Run]] = {variant.name: [] for variant in variants}
    for run in runs:
        of[run.variant].append(run)
    records = {variant.name: _record(variant, of[variant.name]) for variant in variants}
    for variant in variants:
        for head, twin in variant.twins:
            for column in COLUMNS:
                if column.head == head:
                    _add_share(records[variant.name], records[twin], column)
    return list(records.values())


def as_table(records: Sequence[dict[str, Any]]) -> str:
    """Lay the records out, one variant per line, and the shares of the twins below."""
    columns = [
        column
        for column in COLUMNS
        if any(column.figure in record["figures"].get(column.head, {}) for record in records)
    ]
    titles = [*(column.title for column in columns), "parameters", "MB", "µs/article", "train s"]
    rows = [["variant", *titles]]
    for record in records:
        if record["seeds"]:
            costs = (record[name] for name in ("parameters", "bundle_mb", "article_us"))
            cells = [_cell(_figure(record, column), column.digits) for column in columns]
            seconds = f"{record['training_seconds']:.0f}"
            rows.append([record["name"], *cells, *map(_number, costs), seconds])
    lines = _aligned(rows)
    shared = [record for record in records if any("share" in f for f in _figures(record))]
    if shared:
        lines += ["", f"share of the single-task twin's score; * below {STARVED:.0%}"]
        rows = [["variant", *(column.title for column in columns)]]
        rows += [
            [record["name"], *(_percent(_figure(record, column)) for column in columns)]
            for record in shared
        ]
        lines += _aligned(rows)
    failed = [(record["name"], error) for record in records for error in record["errors"]]
    if failed:
        lines += ["", *(f"failed: {name}: {error}" for name, error in failed)]
    return "\n".join(lines)


def _record(variant: Variant, runs: Sequence[Run]) -> dict[str, Any]:
    good = [run for run in runs if run.error is None]
    times = [run.article_us for run in good if run.article_us is not None]
    figures: dict[str, dict[str, Any]] = {}
    for head, names in (good[0].figures if good else {}).items():
        for name in names:
            values = [run.figures[head][name] for run in good]
            figures.setdefault(head, {})[name] = _spread(values)
    return {
        "name": variant.name,
        "seeds": [run.options["seed"] for run in good],
        "figures": figures,
        "parameters": good[0].parameters if good else None,
        "bundle_mb": good[0].bundle_mb if good else None,
        "article_us": min(times) if times else None,
        "training_seconds": float(np.mean([r.training_seconds for r in good])) if good else None,
        "errors": list(dict.fromkeys(run.error for run in runs if run.error is not None)),
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": round(float(np.mean(known)), 5) if known else None,
        "sd": round(float(np.std(known, ddof=1)), 5) if len(known) > 1 else None,
    }


def _add_share(record: dict[str, Any], twin: dict[str, Any], column: Column) -> None:
    mine, its = _figure(record, column), _figure(twin, column)
    if mine is None or its is None:
        return
    score, best = mine["mean"], its["mean"]
    if not column.more_is_better:
        score, best = best, score
    # A share says nothing where one side explains nothing.
    if score is not None and best is not None and best > 0.0:
        mine["share"] = round(score / best, 4)


def _figures(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return (figure for names in record["figures"].values() for figure in names.values())


def _figure(record: dict[str, Any], column: Column) -> dict[str, Any] | None:
    figure: dict[str, Any] | None = record["figures"].get(column.head, {}).get(column.figure)
    return figure


def _cell(figure: dict[str, Any] | None, digits: int) -> str:
    if figure is None or figure["mean"] is None:
        return "-"
    spread = "" if figure["sd"] is None else f" ± {figure['sd']:.{digits}f}"
    return f"{figure['mean']:.{digits}f}{spread}"


def _percent(figure: dict[str, Any] | None) -> str:
    if figure is None or "share" not in figure:
        return "-"
    return f"{figure['share']:.1%}{'*' if figure['share'] < STARVED else ''}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
