"""The model bundle: a directory that training writes and the worker serves.

| file | content |
|---|---|
| `manifest.json` | this room's `Manifest` |
| `article_encoder.onnx` | two-stage: token ids of one article → vector |
| `profile_head.onnx` | two-stage: the newest article vectors → estimates and interest vector |
| `reader_model.onnx` | reference: token ids of a reader's concatenated posts → estimates |
| `tokenizer.model` | SentencePiece model |
| `tag_affinity.json` | which tags each age band, income group and gender likes |
| `blend.json` | the weights a worker's blend begins with; `frontpage train-blend` adds it |
| `card/` | the model card with its plots; for people, and no part of the model's version |

Graph inputs and outputs have fixed names, listed here; batch axes are dynamic.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from schemas.directories import staged
from schemas.errors import BundleError

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.model"
TAG_AFFINITY_FILE = "tag_affinity.json"
BLEND_FILE = "blend.json"
CARD_DIRECTORY = "card"
FORMAT_VERSION = 1

ARTICLE_ENCODER = "article_encoder"
PROFILE_HEAD = "profile_head"
READER_MODEL = "reader_model"

ESTIMATE_OUTPUTS = ("age_years", "age_sd", "income_probabilities", "gender_female")
"""Outputs of `profile_head` and `reader_model`: (B,), (B,), (B, G), (B,), all float32."""


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A named graph input or output; a string in the shape names a dynamic axis."""

    name: str
    shape: list[int | str]
    dtype: Literal["float32", "int32", "int64"]


class GraphSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One ONNX file with its inputs and outputs."""

    file: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class FileSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Size and checksum of a file of the bundle."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle holds and how it came about.

    `model_version` is derived from the checksums: the same files have the same version, with or
    without a card.
    """

    architecture: Literal["two-stage", "reference"]
    model_version: str
    graphs: dict[str, GraphSpec]
    files: dict[str, FileSpec]
    vocabulary_size: Annotated[int, msgspec.Meta(ge=1, le=50_000)]
    article_tokens: Annotated[int, msgspec.Meta(ge=1)]
    """Longest article in tokens (T); the rest is cut."""
    row_width: Annotated[int, msgspec.Meta(ge=1)]
    """What is kept per article: D of a two-stage bundle, T of a reference bundle."""
    max_clicks: Annotated[int, msgspec.Meta(ge=1)]
    """The newest clicks an estimate is made from (N)."""
    reads_tags: bool = False
    """Whether the encoder reads an article's tags before its title (`article_text`)."""
    reader_tokens: int | None = None
    """Reference bundles: length of a reader's concatenated posts in tokens."""
    income_groups: list[str]
    """Labels of the income groups, lowest first."""
    age_mean_years: float
    age_sd_years: float
    created_at: str
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION


class TagAffinity(msgspec.Struct, frozen=True, kw_only=True):
    """Which tags each segment of readers likes, learned from the training readers.

    `lift[s][t]` is the log of how much more often segment s reads tag t than all readers do,
    shrunk towards 0 where there is little evidence. Segments: `gender:female`, `gender:male`,
    `income:0` …, and age bands `age:0-24` … `age:65-`, whose bounds are in `age_bounds`.
    """

    tags: list[str]
    num_income_groups: int
    age_bounds: list[float]
    """Inner bounds of the age bands in years, ascending; A bounds make A + 1 bands."""
    gender: list[list[float]]
    """(2, tags): woman, man."""
    income: list[list[float]]
    """(groups, tags)."""
    age: list[list[float]]
    """(bands, tags)."""


class LearnedBlend(msgspec.Struct, frozen=True, kw_only=True):
    """What a blend of features learned from a stream, for other workers to begin with.

    By name, so that a worker with other features takes what it knows and leaves the rest.
    """

    features: list[str]
    rows: list[str]
    """Kinds of readers and articles that have weights of their own; a weight is a sum of rows."""
    weights: list[list[float]]
    """(rows, features)."""
    deviations: list[float]
    """(features,): what each usually deviates by within a choice, before it is scaled by that."""
    num_clicks: int
    dataset: str


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_of(files: dict[str, FileSpec]) -> str:
    """Derive the model version from the checksums of its files.

    Not of its card, and not of the blend's weights: neither changes a profile.

    >>> version_of({"a": FileSpec(size=0, sha256="0" * 64)})
    'ee3d6fbd757f'
    """
    lines = "".join(
        f"{name} {spec.sha256}\n"
        for name, spec in sorted(files.items())
        if not name.startswith(f"{CARD_DIRECTORY}/") and name != BLEND_FILE
    )
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def describe_files(directory: Path) -> dict[str, FileSpec]:
    """Return size and checksum of every file of a bundle, its card's too, but its manifest."""
    return {
        path.relative_to(directory).as_posix(): FileSpec(
            size=path.stat().st_size, sha256=sha256_of(path)
        )
        for path in sorted([*directory.iterdir(), *(directory / CARD_DIRECTORY).glob("*")])
        if path.name != MANIFEST_FILE and path.is_file()
    }


def load_manifest(bundle: Path) -> Manifest:
    """Read a bundle's manifest and verify every file against it.

    Raises:
        BundleError: when a file is missing, unexpected in size or content, or the manifest is
            not one this version understands.
    """
    path = bundle / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BundleError(f"{path}: {error}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BundleError(f"{path}: format {manifest.format_version} is not {FORMAT_VERSION}")
    for name, spec in manifest.files.items():
        _verify(bundle, name, spec)
    if manifest.model_version != version_of(manifest.files):
        raise BundleError(f"{path}: model_version does not match the files")
    wanted = (
        {ARTICLE_ENCODER, PROFILE_HEAD} if manifest.architecture == "two-stage" else {READER_MODEL}
    )
    listed = {graph.file for graph in manifest.graphs.values()} | {TOKENIZER_FILE}
    # What is served must count for the version: no graph hides in the card's directory.
    served = {name for name in manifest.files if Path(name).name == name}
    if set(manifest.graphs) != wanted or not listed <= served:
        raise BundleError(f"{path}: graphs do not fit the architecture {manifest.architecture}")
    return manifest


def _verify(bundle: Path, name: str, spec: FileSpec) -> None:
    path = bundle / name
    # A name from the manifest must stay a plain file of the bundle or of its card.
    plain = name.removeprefix(f"{CARD_DIRECTORY}/")
    links = path.is_symlink() or (bundle / CARD_DIRECTORY).is_symlink()
    if Path(plain).name != plain or links or not path.is_file():
        raise BundleError(f"{path}: not a file of the bundle")
    if path.stat().st_size != spec.size or sha256_of(path) != spec.sha256:
        raise BundleError(f"{path}: content differs from the manifest's checksum")


def write_bundle(out: Path, fill: Callable[[Path], None]) -> None:
    """Write a bundle so that nobody ever sees half of one.

    `fill` writes every file, the manifest last, into a directory beside `out`, which then takes
    its place; an existing bundle at `out` is replaced.

    Raises:
        BundleError: when `out` exists and is not a bundle, or what was written is not valid.
    """
    occupied = out.is_file() or (out.is_dir() and any(out.iterdir()))
    if occupied and not (out / MANIFEST_FILE).is_file():
        raise BundleError(f"{out}: exists and is not a bundle")
    with staged(out) as staging:
        fill(staging)
        load_manifest(staging)
        staging.chmod(0o755)
