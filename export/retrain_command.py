"""The console command `retrain`."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from schemas.errors import TrainingError

if TYPE_CHECKING:
    from export.retrain import Decision

REFUSED = 3
"""Exit code of a refusal: nothing went wrong, and the running model stays."""


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    required=True,
    type=click.Path(path_type=Path),
    help="The running bundle; need not exist yet.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of training options.")
@click.option("--seed", type=int, help="Default: 0.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0.0),
    default=0.02,
    show_default=True,
    help="How much worse a loss may be, as a share of the running model's.",
)
@click.option("--force", is_flag=True, help="Decide also on fewer than 30 test readers.")
@click.option("--dry-run", is_flag=True, help="Train and decide, but leave the running bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def retrain(
    dataset: Path,
    bundle: Path,
    config: Path | None,
    seed: int | None,
    tolerance: float,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a model on DATASET and let it take the running one's place, unless it is worse.

    Both are tested on the same readers, the test split of DATASET. The candidate is refused when
    the loss of any head is worse than the running model's, or than the constant's, by more than
    the tolerance and with 95 % confidence. Shipped, the old bundle is kept as BUNDLE.previous;
    refused, the candidate is kept as BUNDLE.candidate.

    Exit codes: 0 shipped, 3 refused, 1 an error.
    """
    # Told to stop, remove the half-written candidate.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Imported here: a plain install has no torch.
    try:
        from export.options import load_options
        from export.retrain import retrain as run
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"training needs {error.name}: pip install 'frontpage[train]' (serving does not)"
        ) from error

    options = load_options(config, seed=seed)
    decision = run(dataset, bundle, options, tolerance=tolerance, force=force, dry_run=dry_run)
    shipped = decision.verdict == "ship" and not dry_run
    if as_json:
        facts: dict[str, Any] = {"bundle": str(bundle), "shipped": shipped}
        click.echo(msgspec.json.encode({**facts, **msgspec.structs.asdict(decision)}))
    else:
        click.echo(as_table(decision))
        click.echo(_conclusion(decision, bundle, shipped))
    if decision.verdict == "refuse":
        click.get_current_context().exit(REFUSED)


def as_table(decision: "Decision") -> str:
    """Lay a decision out for a person to read."""
    lines = [
        f"{decision.dataset}: {decision.test_readers} labelled test readers, "
        f"running {decision.running or '-'}, candidate {decision.candidate or '-'}",
        f"{'head':<8}{'figure':<10}{'beside':<10}{'loss':>9}{'candidate':>11}{'difference':>12}"
        f"{'95 % interval':>22}  verdict",
    ]
    for each in decision.comparisons:
        interval = f"{each.low:+.4f} to {each.high:+.4f}"
        lines.append(
            f"{each.head:<8}{each.figure:<10}{each.against:<10}{each.other:>9.4f}"
            f"{each.candidate:>11.4f}{each.difference:>+12.4f}{interval:>22}  "
            f"{'worse' if each.is_worse else 'ok'}"
        )
    return "\n".join(lines if decision.comparisons else lines[:1])


def _conclusion(decision: "Decision", bundle: Path, shipped: bool) -> str:
    if shipped:
        old = "" if decision.running is None else f"; the old one is {bundle}.previous"
        return f"shipped: {bundle} is model {decision.candidate}{old}"
    if decision.verdict == "ship":
        return f"would ship {bundle}.candidate (dry run)"
    left = "" if decision.candidate is None else f"; the candidate is {bundle}.candidate"
    return f"refused: {'; '.join(decision.reasons)}{left}"
