"""The trained tokenizer: any language, small corpora, the same every time."""

from pathlib import Path

import numpy as np
import pytest

from export.tokenizer_training import MAX_VOCABULARY, train_tokenizer
from schemas.errors import TrainingError
from schemas.tokenizer import UNKNOWN_ID, Tokenizer

TEXTS = {
    "zh": "央行宣布下调存款准备金率，市场普遍预期这将支持实体经济的发展。",
    "de": "Die Bundesregierung plant höhere Zuschüsse für Wärmepumpen in Altbauten.",
    "en": "The central bank lowered its reserve requirement to support the economy.",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    size = train_tokenizer([text * 3 for text in TEXTS.values()] * 5, path)
    tokenizer = Tokenizer(path)
    assert tokenizer.vocabulary_size == size <= MAX_VOCABULARY
    return tokenizer


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_has_no_unknown_token(trained: Tokenizer, language: str) -> None:
    ids = trained.encode([TEXTS[language]], 64)
    assert (ids != 0).sum() > 3
    assert UNKNOWN_ID not in ids


def test_a_character_never_seen_is_spelled_in_bytes(trained: Tokenizer) -> None:
    ids = trained.encode(["Ω🦉 ख"], 64)
    assert UNKNOWN_ID not in ids
    assert (ids != 0).sum() >= 4


def test_width_and_case_do_not_matter(trained: Tokenizer) -> None:
    plain, wide = trained.encode(["economy", "ＥＣＯＮＯＭＹ"], 16)
    assert (plain == wide).all()


def test_the_same_texts_give_the_same_model(tmp_path: Path) -> None:
    texts = list(TEXTS.values())
    for name in ("one", "two"):
        train_tokenizer(texts, tmp_path / name, seed=3)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_single_word_is_enough(tmp_path: Path) -> None:
    train_tokenizer(["hello"], tmp_path / "model")
    ids = Tokenizer(tmp_path / "model").encode(["hello"], 8)
    assert np.count_nonzero(ids) > 0


def test_no_text_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no text"):
        train_tokenizer(["", "  "], tmp_path / "model")
