"""Which trainings a comparison is made of: a grid of options, seeds and single-task twins."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import msgspec

from export.heads import HEADS, LossWeights, parse_loss_weights
from export.options import TrainingOptions
from schemas.errors import TrainingError

_ANY = LossWeights(age=1.0, income=1.0, gender=1.0)


@dataclass(frozen=True)
class Variant:
    """One row of the table: options but for the seed, and the twins it is measured against."""

    name: str
    options: TrainingOptions
    twins: tuple[tuple[str, str], ...] = ()
    """Pairs of a head and the name of the variant that was trained for it alone."""

    def seeded(self, number: int) -> TrainingOptions:
        """Return the options of a run, counting seeds from the options' own."""
        return replace(self.options, seed=self.options.seed + number)


def variants_of(
    base: TrainingOptions, vary: Iterable[str], heads: Sequence[str] | None = None
) -> list[Variant]:
    """Return the grid of `vary`; with `heads`, the single-task twin of each of them too.

    vary: `NAME=VALUE,VALUE`, NAME an option; separated by `;` where values hold commas. Twins
    differ from a variant in their loss weights only, and variants that differ in loss weights or
    balance share theirs.

    Raises:
        TrainingError: when an option is not known, or a value is not one of its values.
    """
    axes = [_axis(text) for text in vary]
    grid = []
    for values in product(*(values for _, values in axes)):
        chosen = {name: value for (name, _), value in zip(axes, values, strict=True)}
        label = " ".join(f"{name}={value}" for name, value in chosen.items())
        grid.append(Variant(label or "base", _changed(base, chosen)))
    if heads is None:
        return grid
    twins: dict[str, Variant] = {}
    paired = []
    for variant in grid:
        own = [_twin(variant, head, base) for head in heads if _is_on(variant.options, head)]
        twins |= {twin.name: twin for _, twin in own}
        paired.append(replace(variant, twins=tuple((head, twin.name) for head, twin in own)))
    return [*paired, *twins.values()]


def _axis(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    known = [each for each in TrainingOptions.__dataclass_fields__ if each != "seed"]
    if not equals or name not in known:
        raise TrainingError(f"{text!r}: write NAME=VALUE,VALUE with NAME one of {', '.join(known)}")
    parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
    return name, list(dict.fromkeys(parts))


def _changed(base: TrainingOptions, chosen: dict[str, str]) -> TrainingOptions:
    try:
        # Not strict: the values are text, whatever the option's type.
        return msgspec.convert({**asdict(base), **chosen}, TrainingOptions, strict=False)
    except msgspec.ValidationError as error:
        raise TrainingError(f"{chosen}: {error}") from error


def _is_on(options: TrainingOptions, head: str) -> bool:
    return parse_loss_weights(options.loss_weights, _ANY).of(head) > 0.0


def _twin(variant: Variant, head: str, base: TrainingOptions) -> tuple[str, Variant]:
    """Return the head and a variant trained for it alone, with no balance to keep."""
    own = {
        name: value
        for name, value in asdict(variant.options).items()
        if value != getattr(base, name) and name not in ("balance", "loss_weights")
    }
    others = ",".join(f"{other}=0" for other in HEADS if other != head)
    options = replace(variant.options, balance="fixed", loss_weights=others)
    label = " ".join([f"only {head}", *(f"{name}={value}" for name, value in own.items())])
    return head, Variant(label, options)
