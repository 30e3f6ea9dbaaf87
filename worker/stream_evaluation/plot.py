"""ndcg@10 over a stream, drawn."""

from pathlib import Path

import numpy as np

from schemas.errors import FrontpageError
from worker.stream_evaluation.report import SLIDING_CLICKS, Document

_MODEL_WIDTH, _WIDTH = 2.2, 1.0


def plot(document: Document, path: Path) -> None:
    """Draw the points of `over_time` as a PNG: the model and every baseline.

    Raises:
        FrontpageError: when matplotlib is not installed, the document has no points, or the file
            cannot be written.
    """
    points = document["over_time"]
    if not points:
        raise FrontpageError(
            f"nothing to plot: {document['num_scored']:,} clicks scored over time by the "
            f"{document['protocol']} protocol"
        )
    try:
        # Imported here: serving does without matplotlib.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FrontpageError(
            "a plot needs matplotlib: pip install 'frontpage[train]', or leave out --plot"
        ) from error
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    times = np.array([point["time_ms"] for point in points], dtype="datetime64[ms]")
    marker = "o" if len(points) == 1 else None
    for name in points[0]["ndcg@10"]:
        width = _MODEL_WIDTH if name == "model" else _WIDTH
        heights = [point["ndcg@10"][name] for point in points]
        axes.plot(times, heights, label=name, linewidth=width, marker=marker)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(f"ndcg@10 of the last {SLIDING_CLICKS:,} scored clicks")
    axes.set_title(document["dataset"])
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise FrontpageError(f"{path}: {error.strerror}") from error
