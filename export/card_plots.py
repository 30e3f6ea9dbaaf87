"""The plots of the model card, drawn from an evaluation's figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

_DPI = 100
_PALETTE = 64  # colours
_COLOURS = {"model": "#1f5fa8", "baseline": "#d9822b", "constant": "#8a8a8a"}
_GROUP_FIGURES = {
    ("age", "mae"): ("error_age.png", "Mean absolute error of age, years"),
    ("gender", "accuracy"): ("accuracy_gender.png", "Accuracy of gender"),
    ("income", "log_loss"): ("loss_income.png", "Log-loss of income, nats"),
}
_CLICK_FIGURES = (
    ("gender", "auc", "gender: AUC"),
    ("gender", "log_loss", "gender: log-loss, nats"),
    ("age", "mae", "age: MAE, years"),
    ("income", "log_loss", "income: log-loss, nats"),
)
_ATTRIBUTES = {"age": "by age band", "gender": "by gender", "income": "by income group"}
_LONGEST_LABEL = 14  # characters of an income group's name


def draw_plots(directory: Path, result: dict[str, Any]) -> dict[str, str]:
    """Write the plots as PNG files and return the caption of each file."""
    _draw_reliability(directory / "reliability.png", result["reliability"])
    _draw_clicks(directory / "clicks.png", result["by_num_clicks"])
    captions = {
        "reliability.png": "Reliability: predicted probability and what share came true. On the "
        "diagonal the probabilities are honest; the area of a point grows with its readers.",
        "clicks.png": "Figures after the first clicks of the readers who have so many; the band "
        "is the model's 95 % interval.",
    }
    for (head, name), (file, title) in _GROUP_FIGURES.items():
        _draw_groups(directory / file, result["groups"], head, name, title)
        captions[file] = (
            f"{title}, by group of readers, with 95 % intervals. Groups of fewer than five "
            "readers are left out."
        )
    return captions


@contextmanager
def _panels(
    path: Path, width: float, height: float, count: int, **shape: Any
) -> Iterator[list[Axes]]:
    """Yield the panels of a plot, and write it when they are drawn."""
    # A figure of our own, not pyplot's: the process may have a backend and figures already.
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, count, squeeze=False, **shape)[0])
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
        panel.set_axisbelow(True)
    yield panels
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    # A palette makes a third of the file: 10 to 20 kB.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(_PALETTE).save(path, optimize=True)


def _draw_reliability(path: Path, curves: dict[str, Any]) -> None:
    with _panels(path, 7.2, 3.9, 2) as panels:
        for panel, head, title, x, y in (
            (panels[0], "gender", "gender", "predicted to be a woman", "share of women"),
            (panels[1], "income", "most probable income group", "predicted", "share right"),
        ):
            panel.plot([0, 1], [0, 1], color=_COLOURS["constant"], linewidth=1, linestyle="--")
            for whose in ("baseline", "model"):
                points = curves.get(whose, {}).get(head, [])
                if points:
                    _draw_curve(panel, points, whose)
            panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), box_aspect=1)
            panel.set_title(title, fontsize=10)
            panel.set_xlabel(x, fontsize=9)
            panel.set_ylabel(y, fontsize=9)
        _legend(panels[0])


def _draw_curve(panel: Axes, points: list[dict[str, Any]], whose: str) -> None:
    predicted = [point["predicted"] for point in points]
    observed = [point["observed"] for point in points]
    readers = np.array([point["readers"] for point in points])
    panel.plot(predicted, observed, color=_COLOURS[whose], linewidth=1.2, label=whose)
    panel.scatter(
        predicted, observed, s=8 + 160 * readers / readers.sum(), color=_COLOURS[whose], alpha=0.7
    )


def _draw_clicks(path: Path, entries: dict[str, Any]) -> None:
    with _panels(path, 10.0, 2.7, len(_CLICK_FIGURES)) as panels:
        at = np.arange(len(entries))
        for panel, (head, name, title) in zip(panels, _CLICK_FIGURES, strict=True):
            for whose in ("constant", "baseline", "model"):
                heads = [
                    entry if whose == "model" else entry.get(whose) for entry in entries.values()
                ]
                figures = [_numbers(each[head][name]) if each else _NOTHING for each in heads]
                value, low, high = np.array(figures).T
                if np.isnan(value).all():
                    continue
                dashed = "--" if whose == "constant" else "-"
                panel.plot(
                    at, value, dashed, color=_COLOURS[whose], linewidth=1.4, marker=".", label=whose
                )
                if whose == "model":
                    panel.fill_between(at, low, high, color=_COLOURS[whose], alpha=0.15, lw=0)
            panel.set_xticks(at, list(entries))
            panel.set_xlabel("clicks", fontsize=9)
            panel.set_title(title, fontsize=10)
        _legend(panels[0])


def _draw_groups(path: Path, groups: dict[str, Any], head: str, name: str, title: str) -> None:
    counts = [max(3, len(members)) for members in groups.values()]
    shape = {"sharey": True, "width_ratios": counts}
    with _panels(path, 9.6, 3.0, len(groups), **shape) as panels:
        for panel, (attribute, members) in zip(panels, groups.items(), strict=True):
            shown = [whose for whose in ("model", "baseline") if _has(members, whose)]
            width = 0.8 / max(1, len(shown))
            for place, whose in enumerate(shown):
                value, low, high = np.array(
                    [_numbers(member[whose][head][name]) for member in members.values()]
                ).T
                at = np.arange(len(members)) + (place - (len(shown) - 1) / 2) * width
                panel.bar(at, value, width * 0.94, color=_COLOURS[whose], label=whose)
                # A bootstrap interval of very few readers may end on the wrong side by rounding.
                reach = np.maximum([value - low, high - value], 0.0)
                panel.errorbar(at, value, reach, fmt="none", ecolor="#333333", elinewidth=0.8)
            panel.set_xticks(np.arange(len(members)), [_tick(*each) for each in members.items()])
            panel.tick_params(axis="x", labelsize=7)
            panel.set_xlim(-0.6, len(members) - 0.4)
            panel.set_title(_ATTRIBUTES[attribute], fontsize=10)
            panel.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        panels[0].set_ylabel(title, fontsize=9)
        _legend(panels[0])


_NOTHING = (np.nan, np.nan, np.nan)


def _numbers(figure: dict[str, float | None]) -> tuple[float, float, float]:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return _NOTHING
    return value, low, high


def _has(members: dict[str, Any], whose: str) -> bool:
    return any(whose in member for member in members.values())


def _tick(name: str, member: dict[str, Any]) -> str:
    """Name a group with its number of readers; income groups are named by the data set."""
    # A dollar sign would start a formula.
    short = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    return f"{short}\nn={member['readers']}".replace("$", r"\$")


def _legend(panel: Axes) -> None:
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8, frameon=False)
