"""Bundles that differ from a trained one: another model from it, and broken ones."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from schemas.bundle import (
    ARTICLE_ENCODER,
    MANIFEST_FILE,
    PROFILE_HEAD,
    Manifest,
    describe_files,
    load_manifest,
    version_of,
)
from schemas.directories import place


def other_model(bundle: Path, out: Path, factor: float = 1.5) -> Manifest:
    """Write a bundle whose encoder and head both say something else than a trained one's."""
    shutil.copytree(bundle, out)
    manifest = load_manifest(out)
    for graph in (ARTICLE_ENCODER, PROFILE_HEAD):
        scale(out / manifest.graphs[graph].file, factor)
    return sign(out)


def sign(bundle: Path) -> Manifest:
    """Write checksums and version that fit the files, whatever they hold."""
    path = bundle / MANIFEST_FILE
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    files = describe_files(bundle)
    manifest = msgspec.structs.replace(manifest, files=files, model_version=version_of(files))
    path.write_bytes(msgspec.json.encode(manifest))
    return manifest


def exchange(new: Path, bundle: Path) -> None:
    """Put a bundle in another's place, as `frontpage retrain` does; `new` is used up."""
    place(new, bundle)
    shutil.rmtree(new)


def scale(path: Path, factor: float) -> None:
    """Multiply the weights of a graph, the floating-point tables of more than one number."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2:
            scaled = numpy_helper.from_array((values * factor).astype(np.float32), tensor.name)
            tensor.CopyFrom(scaled)
    onnx.save(model, path)
