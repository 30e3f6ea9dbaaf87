"""What each article encoder costs: `python -m tests.benchmarks.encoders [--json FILE]`.

Parameters, file size and µs per article in onnxruntime, float32 and int8, on one thread, with
untrained weights: none of these depends on training. The graphs take turns, and of each one's
runs the median and the fastest are kept: on a machine that does other work the fastest is what
compares.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.encoders import ENCODERS
from export.onnx_export import export_article_encoder
from export.quantize import quantize_encoder
from tests.small_networks import article_encoder, made_up_fit

REFERENCE = ("conv1d", "float32")
"""What ratios are taken to."""

_CALIBRATION_ARTICLES = 512
_RUNS_PER_TURN = 4
_BUCKETS = 1 << 18  # of pairs, as for half a million pieces


@dataclass(frozen=True)
class Cost:
    """What one encoder costs in one precision."""

    encoder: str
    precision: str
    parameters: int
    bytes: int
    us_fastest: float
    us_median: float
    ratio: float
    """Of the fastest run to that of `REFERENCE`."""
    cosine: float
    """Mean similarity to the float32 vectors."""


def main(arguments: list[str] | None = None) -> None:
    """Measure all encoders; print a table, and write JSON where asked."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        costs = measure(options, Path(directory))
    sys.stdout.write(table(costs))
    if options.json:
        result = {
            "onnxruntime": onnxruntime.__version__,
            "batch": options.batch,
            "tokens": options.tokens,
            "vocabulary": options.vocabulary,
            "width": options.width,
            "threads": 1,
            "encoders": [asdict(cost) for cost in costs],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(options: argparse.Namespace, directory: Path) -> list[Cost]:
    """Export, quantize and time every encoder."""
    rng = np.random.default_rng(0)
    shape = (_CALIBRATION_ARTICLES, options.tokens)
    tokens = rng.integers(1, options.vocabulary, shape, dtype=np.int32)
    built = {name: _export(name, tokens, options, directory) for name in options.encoders}
    graphs = {
        (name, precision): directory / f"{name}.{precision}.onnx"
        for name in built
        for precision in ("float32", "int8")
    }
    times = _times(graphs, tokens[: options.batch], options.rounds)
    fastest = {key: float(runs.min()) for key, runs in times.items()}
    return [
        Cost(
            encoder=name,
            precision=precision,
            parameters=built[name][0],
            bytes=path.stat().st_size,
            us_fastest=round(fastest[name, precision], 1),
            us_median=round(float(np.median(times[name, precision])), 1),
            ratio=round(fastest[name, precision] / fastest.get(REFERENCE, float("nan")), 2),
            cosine=round(built[name][1], 5) if precision == "int8" else 1.0,
        )
        for (name, precision), path in graphs.items()
    ]


def table(costs: Iterable[Cost]) -> str:
    """Return the costs as a Markdown table."""
    lines = [
        "| encoder | precision | parameters | kB | µs/article (fastest) | (median) "
        "| to conv1d | cosine |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {cost.encoder} | {cost.precision} | {cost.parameters:,} | {cost.bytes / 1000:,.0f} "
        f"| {cost.us_fastest:.1f} | {cost.us_median:.1f} | {cost.ratio:.2f} | {cost.cosine:.4f} |"
        for cost in costs
    ]
    return "\n".join(lines) + "\n"


def _export(
    name: str, tokens: NDArray[np.int32], options: argparse.Namespace, directory: Path
) -> tuple[int, float]:
    """Write both graphs; return the number of parameters and the cosine similarity of int8."""
    torch.manual_seed(0)
    fit = made_up_fit(options.vocabulary, _BUCKETS)
    encoder = article_encoder(fit, name, options.width, options.vocabulary)
    with torch.no_grad():
        encoder.learned(torch.from_numpy(tokens))  # gives the centring its mean and variance
    path = directory / f"{name}.float32.onnx"
    export_article_encoder(encoder.eval(), options.tokens, path)
    similarity = quantize_encoder(path, directory / f"{name}.int8.onnx", tokens)
    return sum(weight.numel() for weight in encoder.parameters()), similarity


def _times(
    graphs: dict[tuple[str, str], Path], tokens: NDArray[np.int32], rounds: int
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Run the graphs by turns; return µs per article of each run."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    sessions: dict[tuple[str, str], Any] = {
        key: onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        for key, path in graphs.items()
    }
    times = {key: np.empty((rounds, _RUNS_PER_TURN)) for key in sessions}
    for turn in range(rounds):
        for key, session in sessions.items():
            session.run(None, {"tokens": tokens})  # the caches hold another graph's tables
            for run in range(_RUNS_PER_TURN):
                start = time.perf_counter()
                session.run(None, {"tokens": tokens})
                times[key][turn, run] = (time.perf_counter() - start) / len(tokens) * 1e6
    return times


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoders", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--batch", type=int, default=32, help="articles in a run")
    parser.add_argument("--tokens", type=int, default=128, help="length of an article")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--width", type=int, default=64, help="of the learned vector")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", type=Path, help="where to write the result")
    return parser


if __name__ == "__main__":
    main()
