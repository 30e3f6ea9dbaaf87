"""From the trained network to ONNX graphs, each compared with torch before anyone may serve it."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.calibration import Calibration, age_estimate
from export.heads import HeadOutputs
from export.prior import Prior
from export.two_stage import ArticleEncoder, ProfileHead, interest
from schemas.bundle import ESTIMATE_OUTPUTS, GraphSpec, TensorSpec
from schemas.errors import BundleError

TOLERANCE = 1e-4
"""Largest accepted difference between ONNX and torch in any output, age in years included."""

HEAD_INPUTS = ("vectors", "ages_hours", "mask")
HEAD_OUTPUTS = (*ESTIMATE_OUTPUTS, "interest")

Arrays = dict[str, NDArray[np.generic]]

_DTYPES: dict[str, Literal["float32", "int32", "int64"]] = {
    "tensor(float)": "float32",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class ServedHead(nn.Module):
    """The profile head as it is served: calibrated years and probabilities, and the interest."""

    def __init__(self, head: ProfileHead, prior: Prior, calibration: Calibration) -> None:
        super().__init__()
        self.head = head
        self.ages = prior.ages
        self.calibration = calibration

    def forward(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return age (B,), its sd (B,), income (B, G), woman (B,), interest (B, H + D)."""
        evidence = self.head.evidence(vectors, ages_hours, mask)
        clicks = mask.sum(1)
        out: HeadOutputs = self.head.with_prior(evidence, self.calibration.trust(clicks))
        years, sd = age_estimate(torch.softmax(out.age, 1), self.ages)
        return (
            years,
            sd * self.calibration.width(clicks),
            torch.softmax(out.income, 1),
            torch.sigmoid(out.gender),
            interest(vectors, ages_hours, mask),
        )


class ServedReader(nn.Module):
    """The reference network as it is served; the age's sd is that of its errors on valid."""

    def __init__(self, model: nn.Module, age_sd_years: float) -> None:
        super().__init__()
        self.model = model
        self.age_sd_years = age_sd_years

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return age (B,), its sd (B,), income (B, G), woman (B,)."""
        out: HeadOutputs = self.model(tokens)
        return (
            out.age,
            torch.zeros_like(out.age) + self.age_sd_years,
            torch.softmax(out.income, 1),
            torch.sigmoid(out.gender),
        )


def export_article_encoder(encoder: ArticleEncoder, num_tokens: int, path: Path) -> GraphSpec:
    """Write the first stage: `tokens` (batch, T) int32 → `vector` (batch, D) float32."""
    tokens = torch.ones(4, num_tokens, dtype=torch.int32)
    return _export(encoder, {"tokens": tokens}, ("vector",), {"tokens": ("batch",)}, path)


def export_profile_head(head: ServedHead, width: int, path: Path) -> GraphSpec:
    """Write the second stage: vectors, ages and mask → estimates and interest vector."""
    inputs = {
        "vectors": torch.zeros(4, 6, width),
        "ages_hours": torch.zeros(4, 6),
        "mask": torch.ones(4, 6),
    }
    axes: dict[str, tuple[str, ...]] = dict.fromkeys(HEAD_INPUTS, ("batch", "clicks"))
    return _export(head, inputs, HEAD_OUTPUTS, axes, path)


def export_reader_model(model: ServedReader, num_tokens: int, path: Path) -> GraphSpec:
    """Write the one-graph network: `tokens` (batch, T) int32 → estimates."""
    tokens = torch.ones(4, num_tokens, dtype=torch.int32)
    return _export(model, {"tokens": tokens}, ESTIMATE_OUTPUTS, {"tokens": ("batch",)}, path)


def check_graph(path: Path, module: nn.Module, cases: Iterable[Arrays]) -> float:
    """Compare a graph with the network it came from; return the largest absolute difference.

    Raises:
        BundleError: when an output differs by more than `TOLERANCE`, in shape, or is not finite.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    largest = 0.0
    for case in cases:
        with torch.inference_mode():
            wanted = module(**{name: torch.from_numpy(array) for name, array in case.items()})
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for name, tensor, got in zip(names, wanted, session.run(names, case), strict=True):
            expected = tensor.numpy()
            shapes = {key: array.shape for key, array in case.items()}
            if got.shape != expected.shape:
                raise BundleError(f"{path.name}: {name} is {got.shape}, not {expected.shape}")
            difference = float(np.abs(got - expected).max(initial=0.0))
            # Written so that NaN is refused too.
            if not difference <= TOLERANCE:
                raise BundleError(
                    f"{path.name}: {name} differs from the trained network by {difference:.2g} "
                    f"on inputs {shapes}"
                )
            largest = max(largest, difference)
    return largest


def token_cases(tokens: NDArray[np.int32], vocabulary_size: int, seed: int) -> Iterator[Arrays]:
    """Yield token inputs of several batch sizes: real rows, random ids and nothing but padding."""
    rng = np.random.default_rng(seed)
    for batch in (1, 3, 64):
        yield {"tokens": tokens[rng.integers(0, len(tokens), batch)]}
        shape = (batch, tokens.shape[1])
        yield {"tokens": rng.integers(0, vocabulary_size, shape, dtype=np.int32)}
    yield {"tokens": np.zeros((2, tokens.shape[1]), dtype=np.int32)}


def click_cases(vectors: NDArray[np.float32], max_clicks: int, seed: int) -> Iterator[Arrays]:
    """Yield head inputs of several sizes, from real article vectors (A, D) and random ones."""
    rng = np.random.default_rng(seed)
    for batch in (1, 3, 64):
        for clicks in sorted({1, 2, 7, max_clicks}):
            shape = (batch, clicks)
            # Each row holds 0 to all of its clicks, padding last.
            held = rng.integers(0, clicks + 1, (batch, 1))
            mask = (np.arange(clicks) < held).astype(np.float32)
            ages = np.sort(rng.exponential(200.0, shape), 1).astype(np.float32) * mask
            real = vectors[rng.integers(0, len(vectors), shape)]
            for rows in (real, rng.standard_normal(real.shape, dtype=np.float32)):
                yield {
                    "vectors": np.where(mask[..., None] > 0, rows, np.float32(0.0)),
                    "ages_hours": ages,
                    "mask": mask,
                }


def _export(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    axes: dict[str, tuple[str, ...]],
    path: Path,
) -> GraphSpec:
    """Export with named dynamic axes (the leading ones) and read back what came out."""
    dims = {name: torch.export.Dim(name) for name in {n for names in axes.values() for n in names}}
    shapes = {name: {at: dims[axis] for at, axis in enumerate(axes[name])} for name in inputs}
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise BundleError(f"{path.name}: the exporter returned no graph")
        program.save(str(path), external_data=False)
    return describe_graph(path)


def describe_graph(path: Path) -> GraphSpec:
    """Read names, shapes and types of a graph's inputs and outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return GraphSpec(
        file=path.name,
        inputs=[_tensor_spec(node) for node in session.get_inputs()],
        outputs=[_tensor_spec(node) for node in session.get_outputs()],
    )


def _tensor_spec(node: onnxruntime.NodeArg) -> TensorSpec:
    if node.type not in _DTYPES:
        raise BundleError(f"{node.name}: {node.type} is not a type a bundle may have")
    return TensorSpec(name=node.name, shape=list(node.shape), dtype=_DTYPES[node.type])


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about its own insides from the user."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # says that torchvision is not installed
    try:
        with warnings.catch_warnings():
            # torch 2.13's exporter calls its own deprecated pytree function.
            warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec", FutureWarning)
            # Two axes share a name on purpose: they are one axis of two inputs.
            warnings.filterwarnings("ignore", "# The axis name: .* will not be used", UserWarning)
            yield
    finally:
        registration.setLevel(level)
