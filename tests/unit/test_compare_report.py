"""Which trainings a comparison is made of, and what its table says of them."""

from typing import Any

import pytest

from export.compare import Run
from export.compare_report import as_table, summary
from export.options import TrainingOptions
from export.variants import Variant, variants_of
from schemas.errors import TrainingError

BASE = TrainingOptions(epochs=3, seed=5)


def test_nothing_varied_is_one_variant() -> None:
    (variant,) = variants_of(BASE, [])
    assert variant == Variant("base", BASE)
    assert variant.seeded(2).seed == 7


def test_several_axes_make_a_grid() -> None:
    variants = variants_of(BASE, ["encoder=conv1d,bag", "max_clicks=8,64", "reads_tags=false"])
    assert [v.name for v in variants] == [
        "encoder=conv1d max_clicks=8 reads_tags=false",
        "encoder=conv1d max_clicks=64 reads_tags=false",
        "encoder=bag max_clicks=8 reads_tags=false",
        "encoder=bag max_clicks=64 reads_tags=false",
    ]
    assert variants[2].options == TrainingOptions(
        epochs=3, seed=5, encoder="bag", max_clicks=8, reads_tags=False
    )


def test_values_that_hold_commas_are_separated_by_semicolons() -> None:
    variants = variants_of(BASE, ["loss_weights=age=1,gender=2;age=2"])
    assert [v.options.loss_weights for v in variants] == ["age=1,gender=2", "age=2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=1", "NAME one of architecture, encoder"),
        ("seed=1,2", "NAME one of"),
        ("epochs", "NAME=VALUE"),
        ("epochs=many", "epochs"),
        ("balance=none", "balance"),
    ],
)
def test_what_cannot_be_varied_is_refused(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        variants_of(BASE, [text])


def test_balances_share_their_twins() -> None:
    variants = variants_of(BASE, ["balance=fixed,gradient"], ["gender", "age"])
    assert [v.name for v in variants] == [
        "balance=fixed",
        "balance=gradient",
        "only gender",
        "only age",
    ]
    assert (
        variants[0].twins == variants[1].twins == (("gender", "only gender"), ("age", "only age"))
    )
    assert variants[2].options == TrainingOptions(epochs=3, seed=5, loss_weights="age=0,income=0")


def test_every_encoder_has_its_own_twins_but_not_of_heads_that_are_off() -> None:
    base = TrainingOptions(encoder="conv1d", loss_weights="age=0")
    variants = variants_of(base, ["encoder=conv1d,bag"], ["gender", "age"])
    assert [v.name for v in variants[2:]] == ["only gender", "only gender encoder=bag"]
    assert variants[3].options.encoder == "bag"


def run(variant: str, seed: int = 0, **more: Any) -> Run:
    values: dict[str, Any] = {"parameters": 1_000, "bundle_mb": 1.5, "training_seconds": 4.0}
    return Run(
        dataset="d", split="valid", variant=variant, options={"seed": seed}, **{**values, **more}
    )


def figures(auc: float, mae: float, r: float | None = 0.5) -> dict[str, dict[str, float | None]]:
    return {"gender": {"auc": auc, "accuracy": 0.7}, "age": {"mae": mae, "r": r}}


def test_seeds_become_means_with_their_spread() -> None:
    runs = [run("base", n, figures=figures(auc, 4.0)) for n, auc in enumerate((0.7, 0.8, 0.9))]
    (record,) = summary([Variant("base", BASE)], runs)
    assert record["figures"]["gender"]["auc"] == {"mean": 0.8, "sd": 0.1}
    assert record["seeds"] == [0, 1, 2]
    assert "0.800 ± 0.100" in as_table([record])
    assert "income" not in as_table([record])


def test_a_starved_head_is_marked() -> None:
    variants = variants_of(BASE, [], ["gender", "age"])
    runs = [
        run("base", figures=figures(0.90, 4.4, None)),
        run("only gender", figures=figures(0.91, 9.0)),
        run("only age", figures=figures(0.5, 4.0)),
    ]
    records = summary(variants, runs)
    table = as_table(records)
    assert records[0]["figures"]["gender"]["auc"]["share"] == pytest.approx(0.989)
    assert records[0]["figures"]["age"]["mae"]["share"] == pytest.approx(0.9091)
    assert "share" not in records[0]["figures"]["age"]["r"]
    assert "98.9%  " in table and "90.9%*" in table


def test_a_twin_that_explains_nothing_is_no_measure() -> None:
    variants = variants_of(BASE, [], ["age"])
    runs = [run("base", figures=figures(0.9, 4.0)), run("only age", figures=figures(0.5, 4.0, 0.0))]
    assert "share" not in summary(variants, runs)[0]["figures"]["age"]["r"]


def test_a_failed_variant_is_named_with_its_error() -> None:
    variants = [Variant("good", BASE), Variant("bad", BASE)]
    runs = [run("good", figures=figures(0.9, 4.0)), run("bad", error="no encoder 'x'")]
    table = as_table(summary(variants, runs))
    assert "failed: bad: no encoder 'x'" in table
    assert "good" in table
