"""The console commands of training: `generate`, `train` and `evaluate`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import click
import msgspec
from tqdm import tqdm

from schemas.errors import TrainingError

# torch, onnx and onnxruntime are imported inside the functions: finding the commands must not
# load them, and a plain install has no torch.

_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--articles", default=2_000, show_default=True, help="Number of articles.")
@click.option("--readers", default=1_500, show_default=True, help="Number of readers.")
@click.option("--days", default=28, show_default=True, help="Days the clicks spread over.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same newsroom.")
@_JSON
def generate(out: Path, articles: int, readers: int, days: int, seed: int, as_json: bool) -> None:
    """Write a synthetic newsroom, a reading set whose truth is known, to OUT."""
    from export.newsroom import generate_newsroom

    with tqdm(unit="") as bar:

        def show(stage: str, done: int, of: int) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.total, bar.n = of, done
            bar.refresh()

        try:
            report = generate_newsroom(
                out,
                num_articles=articles,
                num_readers=readers,
                days=days,
                seed=seed,
                progress=show,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode({**asdict(report), "path": str(report.path)}))
    else:
        click.echo(
            f"{report.path}: {report.num_articles} articles, {report.num_readers} readers, "
            f"{report.num_clicks} clicks over {days} days"
        )


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Where to write the bundle."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file of options, as in export/configs; options given here go before it.",
)
@click.option(
    "--architecture", type=click.Choice(["two-stage", "reference"]), help="Default: two-stage."
)
@click.option("--encoder", help="Article encoder. Default: bag.")
@click.option(
    "--balance",
    type=click.Choice(["fixed", "uncertainty", "gradient"]),
    help="How the heads are kept in balance. Default: fixed.",
)
@click.option("--loss-weights", help="For example age=1,income=0.5,gender=2; 0 turns a head off.")
@click.option("--epochs", type=int, help="At most so many passes over the readers.")
@click.option("--seed", type=int, help="Default: 0.")
@click.option("--max-clicks", type=int, help="The newest clicks an estimate is made of.")
@click.option("--article-tokens", type=int, help="Longest article in tokens.")
@click.option("--reads-tags/--no-reads-tags", default=None, help="Let the encoder read tags.")
@click.option(
    "--learns-valid/--no-learns-valid",
    default=None,
    help="Fit the linear path on the valid readers too. Default: yes.",
)
@click.option("--int8/--no-int8", default=None, help="Export the encoder with 8-bit weights.")
@click.option("--max-seconds", type=float, help="Time budget; stops early and keeps the best.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Default: auto, which is bfloat16 on a GPU and float32 on a CPU.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False),
    help="Keep the set's arrays here, for the next training on the same files.",
)
@click.option(
    "--checkpoint",
    type=click.Path(file_okay=False),
    help="Keep the state after each epoch here.",
)
@click.option("--resume/--no-resume", default=None, help="Go on from the checkpoint, if any.")
@click.option(
    "--measure/--no-measure", default=True, help="Evaluate on test and write the model card."
)
@_JSON
def train(
    dataset: Path, out: Path, config: Path | None, measure: bool, as_json: bool, **chosen: Any
) -> None:
    """Train a model on the reading set DATASET and export it as a bundle.

    For several processes: torchrun --nproc-per-node 2 -m worker.cli train DATASET --out BUNDLE
    """
    try:
        from export.bundle_writer import train_bundle
        from export.distributed import is_main, processes
        from export.options import load_options
    except ModuleNotFoundError as error:
        raise _needs_training_extra(error) from error

    with processes():
        manifest = train_bundle(dataset, out, load_options(config, **chosen), measure)
        if not is_main():
            return
    if as_json:
        click.echo(msgspec.json.encode(_Trained(str(out), manifest)))
        return
    from export.evaluation import as_table

    facts = manifest.training
    size_mb = sum(file.size for file in manifest.files.values()) / 1e6
    click.echo(
        f"{out}: model {manifest.model_version}, {size_mb:.1f} MB, best epoch "
        f"{facts['best_epoch']} of {len(facts['history'])}, {facts['seconds']} s"
    )
    if manifest.metrics:
        click.echo(as_table(manifest.metrics))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True
)
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Fit a bag of words on the set's own readers and measure it beside the model.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the model card with its plots to DIR/card.",
    metavar="DIR",
)
@_JSON
def evaluate(
    bundle: Path, dataset: Path, split: str, baseline: bool, card: Path | None, as_json: bool
) -> None:
    """Measure BUNDLE on a split of the reading set DATASET, beside a baseline and a constant."""
    from export.evaluation import as_table
    from export.evaluation import evaluate as measure
    from schemas.bundle import MANIFEST_FILE, load_manifest

    if card is not None and (card / MANIFEST_FILE).exists():
        raise click.UsageError(f"--card: {card} is a bundle, whose own card is from its training")
    chosen = cast(Literal["train", "valid", "test"], split)
    manifest = load_manifest(bundle)
    learns_valid = manifest.training.get("options", {}).get("learns_valid", False)
    if split == "train" or (split == "valid" and learns_valid):
        click.echo("the model may have learned from these readers: measure on test", err=True)
    result = measure(bundle, dataset, chosen, with_baseline=baseline)
    if card is not None:
        from export.card import write_card

        written = write_card(card, result, manifest)
        click.echo(f"model card: {written}", err=True)
    click.echo(msgspec.json.encode(result) if as_json else as_table(result))


@dataclass(frozen=True)
class _Trained:
    """What `train --json` prints."""

    bundle: str
    manifest: Any


def _needs_training_extra(error: ModuleNotFoundError) -> TrainingError:
    return TrainingError(
        f"training needs {error.name}: pip install 'frontpage[train]' (serving does not)"
    )
