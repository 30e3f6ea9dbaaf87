"""Train the subword tokenizer of a bundle on the set's own articles, in whatever language."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from schemas.errors import TrainingError
from schemas.tokenizer import PAD_ID, UNKNOWN_ID

MAX_VOCABULARY = 50_000
SAMPLE_CHARACTERS = 3_000_000
"""Enough to see every piece worth having; trains in about 2 s on 2 cores (measured)."""

_ARTICLE_CHARACTERS = 4_000  # of one article in the sample: no article may fill it alone
_CHARACTERS_PER_PIECE = 100  # a piece seen less often than this allows is learned by no network
_SMALLEST_VOCABULARY = 1_000  # 256 of them are the bytes
_THREADS = 2  # part of the result: the sums of each thread are added in order


def train_tokenizer(texts: Sequence[str], out: Path, seed: int = 0) -> int:
    """Train SentencePiece on `texts`, write the model to `out` and return the vocabulary size.

    Unigram pieces, because their vocabulary may shrink to what a small corpus supports (BPE
    fails there); byte fallback, so that no character of any language is unknown; NFKC and case
    folding, so that a word is one piece at the start of a sentence and within. Deterministic.

    Source: Kudo, "Subword Regularization", ACL 2018.

    Raises:
        TrainingError: when there is no text to learn from.
    """
    sample = list(_sample(texts, seed))
    num_characters = sum(map(len, sample))
    if num_characters == 0:
        raise TrainingError("the articles have no text to train a tokenizer on")
    wanted = min(MAX_VOCABULARY, max(_SMALLEST_VOCABULARY, num_characters // _CHARACTERS_PER_PIECE))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type="unigram",
            vocab_size=wanted,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="nfkc_cf",
            pad_id=PAD_ID,
            unk_id=UNKNOWN_ID,
            bos_id=-1,
            eos_id=-1,
            max_sentence_length=4 * _ARTICLE_CHARACTERS,  # counted in bytes; longer are skipped
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TrainingError(f"no tokenizer can be trained on these articles: {error}") from error
    out.write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return int(pieces.get_piece_size())


def _sample(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Yield articles in random order until there are `SAMPLE_CHARACTERS`."""
    left = SAMPLE_CHARACTERS
    for index in np.random.default_rng(seed).permutation(len(texts)):
        # One line per article; SentencePiece reserves the zero character.
        text = " ".join(texts[index][:_ARTICLE_CHARACTERS].replace("\0", " ").split())
        if not text:
            continue
        left -= len(text)
        yield text
        if left <= 0:
            return
