"""The subcommand that trains the weights a worker's blend begins with."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile

import click
import msgspec
from tqdm import tqdm

from schemas.bundle import (
    BLEND_FILE,
    MANIFEST_FILE,
    describe_files,
    load_manifest,
    write_bundle,
)
from schemas.errors import FrontpageError
from schemas.reading_set import ReadingSet
from worker.stream_evaluation.protocol import load_stream

_existing_directory = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("dataset", type=_existing_directory)
@click.option("--bundle", type=_existing_directory, required=True, help="Where they are put.")
@click.option(
    "--passes",
    type=click.IntRange(min=1, max=20),
    default=2,
    show_default=True,
    help="How often to go through the stream; the first begins with the usual weights.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many clicks.")
def train_blend(dataset: Path, bundle: Path, passes: int, limit: int | None) -> None:
    """Train the weights that rank pages on a recorded stream, and put them in a bundle.

    Workers begin with them and learn on from their own stream. The model in the bundle stays the
    version it is.
    """
    from worker.recommend.starting import NOTHING_LEARNED, learned_from
    from worker.stream_evaluation.measure import learn
    from worker.stream_evaluation.model import build_recommender

    stream = load_stream(ReadingSet(dataset), limit=limit)
    if stream.num_clicks == 0:
        raise FrontpageError(f"{dataset}: no clicks to learn from")
    learned = NOTHING_LEARNED
    for number in range(1, passes + 1):
        recommender = build_recommender(stream, bundle, learned=learned)
        with tqdm(
            total=stream.num_clicks, desc=f"pass {number}", unit=" clicks", file=sys.stderr
        ) as bar:
            learn(stream, recommender, bar.update)
        learned = learned_from(recommender.blend, stream.num_clicks, stream.name)
    packed = msgspec.json.encode(learned)
    manifest = load_manifest(bundle)

    def fill(directory: Path) -> None:
        # What is not the bundle's stays behind.
        for name in manifest.files:
            (directory / name).parent.mkdir(exist_ok=True)
            copyfile(bundle / name, directory / name)
        (directory / BLEND_FILE).write_bytes(packed)
        training = {**manifest.training, "blend": f"{stream.name}, {datetime.now(UTC):%Y-%m-%d}"}
        written = msgspec.structs.replace(
            manifest, files=describe_files(directory), training=training
        )
        (directory / MANIFEST_FILE).write_bytes(msgspec.json.encode(written))

    write_bundle(bundle, fill)
    click.echo(
        f"{bundle}: {passes} x {stream.num_clicks:,} clicks learned from; "
        f"model {manifest.model_version} as before"
    )
