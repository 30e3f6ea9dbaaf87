"""The int8 article encoder: 8-bit tables and convolutions, a quarter of the size.

Static and not dynamic quantization, for two reasons. A dynamic scale is taken over the whole
batch, and an article's vector would depend on what else is in it. And onnxruntime's dynamic
convolution was 2.6 times slower than float32, the static one 2.8 times faster.

Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from schemas.errors import BundleError

MIN_COSINE = 0.99
"""Smallest accepted mean cosine similarity of int8 and float32 vectors."""

_ROWS_PER_RUN = 32
_CALIBRATION_ROWS = 512
_SMALLEST_TABLE_WIDTH = 8  # narrower ones are weights of pieces: they need their precision
_SATURATION_SAFE_BITS = {"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": True}


def quantize_encoder(path_in: Path, path_out: Path, tokens: NDArray[np.int32]) -> float:
    """Write the 8-bit form of an article encoder; return its mean cosine similarity.

    The two paths may be one. Inputs, outputs and the dynamic batch stay as they are; the same
    graph and tokens give the same file.

    tokens: (A, T) int32, articles of the kind that will be encoded. Ranges of activations are
    taken from some of them, spread evenly; vectors are compared on up to as many others.

    Raises:
        BundleError: when the vectors differ by more than `MIN_COSINE` allows, or are not finite.
    """
    order = np.random.default_rng(0).permutation(len(tokens))
    calibration, held = order[:_CALIBRATION_ROWS], order[_CALIBRATION_ROWS:][:_CALIBRATION_ROWS]
    compared = tokens[held if len(held) else calibration]
    wanted = _vectors(path_in, compared)
    model = onnx.load(path_in)
    # Without it the quantizer advises to run its optimiser first, which has nothing to do here.
    add_pre_process_metadata(model)
    quantize_static(
        model,
        path_out,
        _Calibration(tokens[calibration]),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gather"],
        nodes_to_exclude=_narrow_gathers(model),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # 7 bits: x86 without VNNI adds pairs of products in 16 bits, which 8 would overflow.
        extra_options={
            "TensorQuantOverrides": {
                name: [_SATURATION_SAFE_BITS] for name in _convolution_weights(model)
            }
        },
    )
    similarity = float(cosine(_vectors(path_out, compared), wanted).mean())
    # Written so that NaN is refused too.
    if not similarity >= MIN_COSINE:
        raise BundleError(
            f"{path_out.name}: int8 vectors have a cosine similarity of {similarity:.4f} with "
            f"float32 ones; {MIN_COSINE} is the least"
        )
    return similarity


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine similarity of each pair of rows (B, D): (B,); 1 where both are 0."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = (one * other).sum(1)
    equal = (one == other).all(1)
    return np.where(equal, np.float32(1.0), products / np.where(lengths > 0.0, lengths, 1.0))


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Token rows in batches, as the calibrator asks for them."""

    def __init__(self, tokens: NDArray[np.int32]) -> None:
        self._batches: Iterator[dict[str, Any]] = (
            {"tokens": tokens[start : start + _ROWS_PER_RUN]}
            for start in range(0, len(tokens), _ROWS_PER_RUN)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _narrow_gathers(model: onnx.ModelProto) -> list[str]:
    """Return the look-ups in tables that gain nothing from 8 bits."""
    widths = {table.name: table.dims[-1] for table in model.graph.initializer if table.dims}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Gather" and widths.get(node.input[0], 0) < _SMALLEST_TABLE_WIDTH
    ]


def _convolution_weights(model: onnx.ModelProto) -> list[str]:
    return [node.input[1] for node in model.graph.node if node.op_type == "Conv"]


def _vectors(path: Path, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    parts = [
        session.run(None, {"tokens": tokens[start : start + _ROWS_PER_RUN]})[0]
        for start in range(0, len(tokens), _ROWS_PER_RUN)
    ]
    return np.concatenate(parts)
