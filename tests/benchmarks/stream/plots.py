"""How cost grows, drawn."""

from pathlib import Path

from tests.benchmarks.stream.throughput import Run


def plot(runs: list[tuple[int, Run]], title: str, path: Path) -> None:
    """Draw CPU per click by count as a PNG, counts on a logarithmic axis."""
    # Imported here: the tables do without matplotlib.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    counts = [count for count, _ in runs]
    costs = [run.us_per_click for _, run in runs]
    axes.plot(counts, costs, marker="o")
    axes.set_xscale("log")
    axes.set_xlabel(title)
    axes.set_ylabel("CPU µs per click")
    axes.set_ylim(bottom=0.0)
    figure.savefig(path, format="png", dpi=150)
