"""Where a blend begins: round numbers, or what another stream has taught."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.bundle import BLEND_FILE, LearnedBlend
from schemas.errors import BundleError
from worker.recommend.features import FEATURES, NUM_FEATURES, NUM_WEIGHT_ROWS, ROW_NAMES
from worker.recommend.options import Blend
from worker.recommend.starting import (
    STARTING_WEIGHTS,
    deviations_of,
    learned_from,
    load_blend,
    scale_of,
    starting_blend,
)
from worker.recommend.statistics import Statistics


def taught() -> LearnedBlend:
    blend = starting_blend({})
    random = np.random.default_rng(0)
    blend.weights[:] = random.normal(size=blend.weights.shape).round(3)
    blend.scale[0] = 20 * random.random(NUM_FEATURES)
    return learned_from(blend, 1000, "tiny")


def test_rows_and_features_have_names_of_their_own() -> None:
    assert len(set(ROW_NAMES)) == len(ROW_NAMES) == NUM_WEIGHT_ROWS
    assert set(STARTING_WEIGHTS) <= set(FEATURES)


def test_what_was_learned_is_where_another_begins() -> None:
    learned = taught()
    blend = starting_blend({}, learned)
    assert np.allclose(blend.weights, learned.weights)
    assert np.allclose(deviations_of(blend), learned.deviations, atol=1e-6)
    statistics = Statistics(8, learned=learned)
    assert np.allclose(statistics.blend.weights, learned.weights)
    statistics.reset()
    assert np.allclose(statistics.blend.weights, learned.weights)


def test_what_the_file_says_goes_before_what_was_learned() -> None:
    statistics = Statistics(8, Blend(weights={"age": 3.0}), learned=taught())
    assert statistics.blend.weights[0, FEATURES.index("age")] == 3.0


def test_weights_of_other_features_and_kinds_are_left_out() -> None:
    learned = msgspec.structs.replace(
        taught(),
        features=["of-tomorrow", *FEATURES[1:]],
        rows=["of-tomorrow", *ROW_NAMES[1:]],
    )
    blend, usual = starting_blend({}, learned), starting_blend({})
    assert np.array_equal(blend.weights[0], usual.weights[0])
    assert np.array_equal(blend.weights[:, 0], usual.weights[:, 0])
    assert np.allclose(blend.weights[1:, 1:], np.array(learned.weights)[1:, 1:])


def test_a_feature_that_never_told_articles_apart_weighs_nothing() -> None:
    blend = starting_blend({})
    blend.scale[0, 3] = 0.0
    assert scale_of(blend)[3] == 0.0 and (np.delete(scale_of(blend), 3) > 0).all()


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b"{}",
        msgspec.json.encode(msgspec.structs.replace(taught(), features=["age"])),
        msgspec.json.encode(msgspec.structs.replace(taught(), rows=["common"])),
        msgspec.json.encode(msgspec.structs.replace(taught(), deviations=[1.0])),
    ],
)
def test_a_broken_file_is_refused(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / BLEND_FILE).write_bytes(broken)
    with pytest.raises(BundleError, match=BLEND_FILE):
        load_blend(tmp_path)
    (tmp_path / BLEND_FILE).unlink()
    assert load_blend(tmp_path) is None
