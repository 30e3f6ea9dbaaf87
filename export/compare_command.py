"""The console command `compare`."""

from pathlib import Path
from typing import Literal, cast

import click
import msgspec

from schemas.errors import TrainingError


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file of training options that every variant starts from.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=VALUE,…",
    help="An option and its values; several make a grid. Separate values that hold commas by ';'.",
)
@click.option("--twins", is_flag=True, help="Train each head alone too, and tell who is starved.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs per variant."
)
@click.option(
    "--split",
    type=click.Choice(["valid", "test"]),
    default="valid",
    show_default=True,
    help="Where to measure. Choose on valid: what is chosen on test says nothing about test.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON lines, one per run; runs that are in it are not repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def compare(
    context: click.Context,
    dataset: Path,
    config: Path | None,
    vary: tuple[str, ...],
    twins: bool,
    seeds: int,
    split: str,
    log: Path | None,
    as_json: bool,
) -> None:
    """Train variants of a model on the reading set DATASET and print one table.

    Exit codes: 0 all variants trained, 1 an error, also of one variant.
    """
    # Imported here: a plain install has no torch.
    try:
        from export.compare import Comparison
        from export.compare_report import as_table, summary
        from export.options import load_options
        from export.variants import variants_of
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"training needs {error.name}: pip install 'frontpage[train]' (serving does not)"
        ) from error

    options = load_options(config)
    comparison = Comparison(dataset, cast(Literal["valid", "test"], split), log)
    variants = variants_of(options, vary, comparison.heads() if twins else None)
    runs = comparison.run_all(variants, seeds, lambda text: click.echo(text, err=True))
    records = summary(variants, runs)
    if as_json:
        click.echo(
            msgspec.json.encode({"dataset": str(dataset), "split": split, "variants": records})
        )
    else:
        click.echo(f"{dataset}, {split} split, {seeds} seed{'s' if seeds > 1 else ''}")
        click.echo(as_table(records))
        if split == "test" and len(variants) > 1:
            click.echo("Measured on test: report these figures, but choose by those on valid.")
    if any(record["errors"] for record in records):
        context.exit(1)
