"""An evaluation laid out for a person to read."""

from collections.abc import Iterator
from typing import Any

_NAMES = {"log_loss": "log-loss", "auc": "AUC", "mae": "MAE, years", "ece": "ECE"}


def as_table(result: dict[str, Any]) -> str:
    """Lay an evaluation out: all figures, then by number of clicks, then beside the optimum."""
    blocks = [_main(result), _by_num_clicks(result["by_num_clicks"])]
    if "optimum" in result:
        blocks.append(_optimum(result["optimum"]))
    return "\n\n".join("\n".join(block) for block in blocks)


def figure_name(name: str) -> str:
    """Name a figure for people.

    >>> figure_name("log_loss"), figure_name("r")
    ('log-loss', 'r')
    """
    return _NAMES.get(name, name)


def number(value: float | None, decimals: int = 3) -> str:
    """Write a figure, or a dash where it is not defined.

    >>> number(0.5), number(None)
    ('0.500', '-')
    """
    return "-" if value is None else f"{value:.{decimals}f}"


def interval(figure: dict[str, float | None]) -> str:
    """Write a 95 % interval."""
    if figure["low"] is None:
        return "-"
    return f"{number(figure['low'])} to {number(figure['high'])}"


def _main(result: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{result['dataset']}, {result['split']} split, {result['readers']} readers, "
        f"model {result['model_version']}"
    )
    yield (
        f"{'head':<8}{'figure':<12}{'model':>9}{'95 % interval':>20}"
        f"{'baseline':>11}{'constant':>11}"
    )
    for head, figures in result["model"].items():
        for name, figure in figures.items():
            baseline, constant = (
                number(result[other][head][name]["value"]) for other in ("baseline", "constant")
            )
            yield (
                f"{head:<8}{figure_name(name):<12}{number(figure['value']):>9}"
                f"{interval(figure):>20}{baseline:>11}{constant:>11}"
            )


def _by_num_clicks(entries: dict[str, Any]) -> Iterator[str]:
    yield "the model after the first clicks of the readers with so many"
    yield f"{'clicks':<20}" + "".join(f"{clicks:>9}" for clicks in entries)
    yield f"{'readers':<20}" + "".join(f"{entry['readers']:>9}" for entry in entries.values())
    for head, figures in next(iter(entries.values())).items():
        if head not in ("gender", "age", "income"):
            continue
        for name in figures:
            values = (number(entry[head][name]["value"]) for entry in entries.values())
            yield f"{head:<8}{figure_name(name):<12}" + "".join(f"{value:>9}" for value in values)


def _optimum(entries: dict[str, Any]) -> Iterator[str]:
    yield "beside the exact posterior of the newsroom, on the same readers' first clicks"
    yield (
        f"{'clicks':<8}{'readers':<9}{'head':<8}{'figure':<12}{'model':>9}{'optimum':>9}"
        f"{'ratio':>9}{'95 % interval':>20}"
    )
    for clicks, entry in entries.items():
        for head, figures in entry["ratio"].items():
            for name, ratio in figures.items():
                model, best = (
                    number(entry[whose][head][name]["value"]) for whose in ("model", "optimum")
                )
                yield (
                    f"{clicks:<8}{entry['readers']:<9}{head:<8}{figure_name(name):<12}{model:>9}"
                    f"{best:>9}{number(ratio['value']):>9}{interval(ratio):>20}"
                )
