"""Files of a bundle, opened and checked."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnxruntime

from schemas.bundle import TAG_AFFINITY_FILE, Manifest, TagAffinity
from schemas.errors import BundleError


def open_graph(
    bundle: Path, manifest: Manifest, graph: str, inputs: Sequence[str], outputs: Sequence[str]
) -> onnxruntime.InferenceSession:
    """Load a graph; refuse one that is not what the manifest says or the worker needs.

    inputs, outputs: names that it must have.

    Raises:
        BundleError: when it is missing or another graph.
    """
    spec = manifest.graphs[graph]
    listed = {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    if missing := {*inputs, *outputs} - listed:
        raise BundleError(f"{bundle}: the manifest's {graph} lacks {', '.join(sorted(missing))}")
    options = onnxruntime.SessionOptions()
    # One worker per core is how this scales; threads of its own would fight over them.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = bundle / spec.file
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises types of its own native module
        raise BundleError(f"{path}: onnxruntime cannot load it: {error}") from error
    for kind, wanted, found in (
        ("input", spec.inputs, session.get_inputs()),
        ("output", spec.outputs, session.get_outputs()),
    ):
        names = {tensor.name: len(tensor.shape) for tensor in found}
        for tensor in wanted:
            if names.get(tensor.name) != len(tensor.shape):
                raise BundleError(f"{path}: no {kind} {tensor.name} of {len(tensor.shape)} axes")
    return session


def load_affinity(bundle: Path, manifest: Manifest) -> TagAffinity | None:
    """Load the tag affinity; None where the bundle has none.

    Raises:
        BundleError: when it does not fit.
    """
    if TAG_AFFINITY_FILE not in manifest.files:
        return None
    path = bundle / TAG_AFFINITY_FILE
    try:
        affinity = msgspec.json.decode(path.read_bytes(), type=TagAffinity)
    except msgspec.DecodeError as error:
        raise BundleError(f"{path}: {error}") from error
    rows = (
        (affinity.gender, 2),
        (affinity.income, len(manifest.income_groups)),
        (affinity.age, len(affinity.age_bounds) + 1),
    )
    for table, size in rows:
        if len(table) != size or any(len(row) != len(affinity.tags) for row in table):
            raise BundleError(f"{path}: a table does not fit its segments and tags")
    return affinity
