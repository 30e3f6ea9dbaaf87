"""The linear path: what it counts, whose labels a score has seen, the same in torch and ONNX."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnxruntime
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from export.data import ReaderData, load_reader_data
from export.linear_evidence import Evidence
from export.linear_fit import NUM_FOLDS, LinearFit, fit_linear
from export.linear_scores import LinearScores
from export.linear_targets import linear_targets
from export.onnx_export import export_article_encoder
from export.pieces import counts_of, damped
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet, Split
from tests.small_networks import MAX_CLICKS, NO_SPELLING, TOKENS, VOCABULARY, article_encoder
from tests.tiny_sets import write_easy_set

UNSEEN = VOCABULARY - 1  # a piece that no clicked article has
Tokens = NDArray[np.int32]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReaderData:
    return load_reader_data(ReadingSet(write_easy_set(tmp_path_factory.mktemp("data") / "easy")))


@pytest.fixture(scope="module")
def tokens(data: ReaderData) -> Tokens:
    """Texts like the set's: old and young words in turn, and words that all share."""
    rng = np.random.default_rng(3)
    shape = (len(data.texts), TOKENS)
    own = rng.integers(1, 20, shape) + 20 * (np.arange(shape[0]) % 2)[:, None]
    tokens = np.where(rng.random(shape) < 0.3, own, rng.integers(41, UNSEEN, shape))
    return (tokens * (np.arange(TOKENS) < rng.integers(4, TOKENS + 1, (shape[0], 1)))).astype(
        np.int32
    )


@pytest.fixture(scope="module")
def odd_texts(tokens: Tokens) -> Tokens:
    """The same with texts of odd shapes, which nobody may have clicked."""
    texts = tokens.copy()
    texts[:6] = 0
    texts[1, :1] = 5  # one piece
    texts[2, :9] = 5  # the same again and again
    texts[3, :8] = [5, 6] * 4  # the same pair
    texts[4, :4] = UNSEEN
    texts[5, :6] = [UNSEEN, 5, UNSEEN, 6, 5, 5]
    return texts


@pytest.fixture(scope="module")
def odd_fit(data: ReaderData, odd_texts: Tokens) -> LinearFit:
    return fit(data, odd_texts)


def fit(data: ReaderData, tokens: Tokens, limit: int = MAX_CLICKS) -> LinearFit:
    return fit_linear(data, tokens, NO_SPELLING, limit, seed=0)


def test_pieces_and_pairs_are_counted_and_padding_is_not() -> None:
    counts = counts_of(np.array([[5, 6, 5, 5, 0], [0] * 5], dtype=np.int32), 10, 4096)
    assert counts[:, :10].toarray().tolist() == [[0, 0, 0, 0, 0, 3, 1, 0, 0, 0], [0] * 10]
    assert sorted(counts[[0], 10:].data) == [1, 1, 1], "5 6, 6 5 and 5 5"


def test_features_are_damped_counts_times_rarity_of_length_one() -> None:
    counts = counts_of(np.array([[1, 2, 3, 3], [1, 0, 0, 0]], dtype=np.int32), 4, 4096)
    rarity = np.zeros(4 + 4096, dtype=np.float32)
    rarity[2:4] = 3.0, 1.5
    features = damped(counts, rarity)
    norms = np.sqrt(np.asarray(features.multiply(features).sum(1)).ravel())
    assert norms.tolist() == pytest.approx([1.0, 0.0]), "of what is worth nothing, 0"
    assert features[0, 3] / features[0, 2] == pytest.approx((1 + np.log(2)) / 2.0)


def test_targets_are_of_mean_zero_and_keep_holes(data: ReaderData) -> None:
    holes = replace(data, age=data.age.copy(), gender=data.gender.copy())
    holes.age[3], holes.gender[4] = np.nan, -1
    targets, names = linear_targets(holes)
    assert names[:2] == ["gender", "age"] and len(set(names)) == targets.shape[1]
    assert names[-3:] == ["income", "income=0", "income=1"]
    age = [name.startswith("age") for name in names]
    assert np.isnan(targets[3]).tolist() == age
    assert np.isnan(targets[4]).tolist() == [name == "gender" for name in names]
    train = targets[holes.readers_of("train"), 1]
    assert (np.nanmean(train), np.nanstd(train)) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize(
    ("without", "names"),
    [
        ({"age", "income"}, {"gender"}),
        ({"age", "gender"}, {"gender", "income", "income=0", "income=1"}),
    ],
)
def test_a_head_without_labels_has_no_scores(
    data: ReaderData, tokens: Tokens, without: set[str], names: set[str]
) -> None:
    missing = np.full_like(data.income, -1)
    nothing: dict[str, Any] = {"age": np.full_like(data.age, np.nan)}
    nothing |= {"income": missing, "gender": missing}
    found = fit(replace(data, **{name: nothing[name] for name in without}), tokens)
    assert set(found.names) == names and found.names[0] == "gender"
    assert found.scores.shape == (NUM_FOLDS + 1, len(tokens), len(names))
    assert np.isfinite(found.scores).all()
    # Gender keeps its place, and says nothing where nothing is known.
    assert found.scores[..., 0].any() == ("gender" not in without)


def test_a_set_without_training_readers_is_named(data: ReaderData, tokens: Tokens) -> None:
    with pytest.raises(TrainingError, match="no reader in the train split"):
        fit(replace(data, split=np.full_like(data.split, 2)), tokens)


def test_over_clicks_scores_have_mean_zero_and_variance_one(
    data: ReaderData, tokens: Tokens
) -> None:
    readers = np.concatenate([data.readers_of("train"), data.readers_of("valid")])
    clicks = np.concatenate(
        [data.clicks[data.newest(int(reader), MAX_CLICKS)] for reader in readers]
    )
    scores = fit(data, tokens).scores[:, clicks]
    np.testing.assert_allclose(scores.mean(1), 0.0, atol=1e-4, err_msg="of each fit by itself")
    np.testing.assert_allclose(scores[:-1].std(1).mean(0), 1.0, atol=1e-4)


def test_scores_of_readers_that_the_fit_has_not_seen_tell_them_apart(
    data: ReaderData, tokens: Tokens
) -> None:
    found = fit(data, tokens)
    for split in ("train", "valid", "test"):
        means = {0: [], 1: []}  # type: dict[int, list[float]]
        for reader in data.readers_of(split):
            clicks = data.clicks[data.newest(int(reader), MAX_CLICKS)]
            scores = found.scores[found.fold[reader], clicks, 0]
            means[int(data.gender[reader])].append(float(scores.mean()))
        assert min(means[1]) > max(means[0]), split


def flipped(data: ReaderData, reader: int) -> ReaderData:
    gender = data.gender.copy()
    gender[reader] = 1 - gender[reader]
    return replace(data, gender=gender)


def standardised(scores: NDArray[Any]) -> NDArray[Any]:
    """Without scale and shift, which are the same for all readers."""
    return np.asarray((scores - scores.mean()) / scores.std())


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_reader_s_own_label_is_not_in_the_scores_it_is_judged_by(
    split: Literal["train", "valid"],
    data: ReaderData,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("export.linear_fit._STRENGTHS", (1.0,))  # chosen by all labels
    before = fit(data, tokens)
    for reader in data.readers_of(split)[:3]:
        after = fit(flipped(data, int(reader)), tokens)
        assert (before.fold == after.fold).all()
        changed = [
            float(np.abs(standardised(one) - standardised(other)).max())
            for one, other in zip(before.scores[..., 0], after.scores[..., 0], strict=True)
        ]
        own = int(before.fold[reader])
        assert changed.pop(own) < 1e-4
        assert min(changed) > 0.01, "the other folds and the fit of all have learned from it"


@pytest.mark.parametrize("with_valid", [True, False])
def test_nobody_learns_from_test_and_from_valid_who_may(
    with_valid: bool, data: ReaderData, tokens: Tokens
) -> None:
    found = fit_linear(data, tokens, NO_SPELLING, MAX_CLICKS, seed=0, with_valid=with_valid)
    for split, is_fitted in (("train", True), ("valid", with_valid), ("test", False)):
        readers = data.readers_of(cast(Split, split))
        assert ((found.fold[readers] < NUM_FOLDS) == is_fitted).all(), split
        other = flipped(data, int(readers[0]))
        again = fit_linear(other, tokens, NO_SPELLING, MAX_CLICKS, seed=0, with_valid=with_valid)
        assert np.array_equal(found.scores, again.scores) != is_fitted, split


def test_letters_lend_weight_to_a_piece_that_few_read(data: ReaderData, tokens: Tokens) -> None:
    clicked = np.unique(data.clicks)
    texts = tokens.copy()
    texts[clicked] = np.where(texts[clicked] == 7, 41, texts[clicked])
    texts[clicked[:3], -1] = 7  # enough to count, too little to learn from
    letters = sp.csr_array(([1.0, 1.0], ([7, 9], [0, 0])), shape=(VOCABULARY, 1), dtype=np.float32)
    weights = []
    for spelling in (NO_SPELLING, letters):
        found = fit_linear(data, texts, spelling, MAX_CLICKS, seed=0)
        at = found.row[[7, 9]]
        assert (at > 0).all(), "both have weights of their own"
        weights.append(found.weights[at, 0] / np.abs(found.weights[:, 0]).max())
    alone, together = weights
    assert abs(together[0] - together[1]) < abs(alone[0] - alone[1])


def test_an_article_that_many_read_has_a_weight_of_its_own(
    odd_fit: LinearFit, odd_texts: Tokens, data: ReaderData
) -> None:
    """It is known by all of its text: with another first word it is another article."""
    readers = np.concatenate([data.readers_of("train"), data.readers_of("valid")])
    clicked = np.concatenate([data.clicks[data.offsets[r] : data.offsets[r + 1]] for r in readers])
    popular = int(np.bincount(clicked[(odd_texts[clicked] != 0).any(1)]).argmax())
    known = LinearScores(odd_fit)
    text = torch.from_numpy(odd_texts[[popular]])
    (own,) = known._whole(text.long())
    assert own.abs().max() > 0.01
    changed = text.clone()
    changed[0, 0] = UNSEEN
    for other in (changed, torch.zeros_like(text)):
        assert not known._whole(other.long()).any()


def test_a_reader_meets_a_text_once_under_however_many_ids(data: ReaderData) -> None:
    same = np.full((len(data.texts), 4), 5, dtype=np.int32)
    found = Evidence(data, same, VOCABULARY, data.readers_of("train"))
    assert found.wholes.rarity.tolist() == [0.0], "everybody has read it"


def test_only_so_many_readers_are_in_the_folds(
    data: ReaderData, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.linear_fit.MOST_READERS", 25)
    found = fit(data, tokens)
    train = data.readers_of("train")
    assert np.bincount(found.fold).tolist() == [5] * NUM_FOLDS + [len(found.fold) - 25]
    assert set(found.fold[data.readers_of("test")]) == {NUM_FOLDS}
    outsider = train[found.fold[train] == NUM_FOLDS][0]
    np.testing.assert_array_equal(found.scores, fit(flipped(data, outsider), tokens).scores)


def test_only_the_newest_clicks_are_fitted(data: ReaderData, tokens: Tokens) -> None:
    clicks = data.clicks.copy()
    for start in data.offsets[:-1]:
        clicks[start : start + 4] = clicks[start : start + 4][::-1]
    other = replace(data, clicks=clicks)
    assert not np.array_equal(fit(data, tokens, 3).scores, fit(other, tokens, 3).scores)
    same = np.array_equal(fit(data, tokens, 2).scores, fit(other, tokens, 2).scores)
    assert same, "six clicks each, of which the last two are where they were"


def test_torch_scores_as_the_fit_does(odd_fit: LinearFit, odd_texts: Tokens) -> None:
    got = LinearScores(odd_fit)(torch.from_numpy(odd_texts)).numpy()
    np.testing.assert_allclose(got, odd_fit.scores[-1], atol=1e-4)
    np.testing.assert_allclose(got[0], -odd_fit.centre, atol=1e-6, err_msg="an empty text")
    unknown = LinearScores(odd_fit)(torch.tensor([[UNSEEN, UNSEEN, 0]])).numpy()
    np.testing.assert_allclose(unknown[0], got[0], atol=1e-6, err_msg="pieces nobody knows")
    assert np.abs(got[1] - got[0]).max() > 0.1, "one piece"


@pytest.mark.parametrize("length", [1, 2, 9])
def test_padding_does_not_matter_to_the_scores(odd_fit: LinearFit, length: int) -> None:
    scores = LinearScores(odd_fit)
    tokens = torch.randint(1, VOCABULARY, (4, length))
    padded = torch.cat([tokens, torch.zeros(4, 31, dtype=torch.int64)], 1)
    torch.testing.assert_close(scores(padded), scores(tokens), atol=1e-5, rtol=0.0)


def test_the_graph_scores_as_the_fit_does(
    odd_fit: LinearFit, odd_texts: Tokens, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.onnx"
    export_article_encoder(article_encoder(odd_fit, "bag").eval(), TOKENS, path)
    (vectors,) = onnxruntime.InferenceSession(str(path)).run(None, {"tokens": odd_texts})
    scores = vectors[:, : len(odd_fit.names)]
    np.testing.assert_allclose(scores, odd_fit.scores[-1], atol=1e-4)
