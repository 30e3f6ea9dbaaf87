"""The subword tokenizer of a bundle: the same in training and in serving."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from schemas.errors import BundleError

PAD_ID = 0
UNKNOWN_ID = 1
MOST_TAGS = 16


class Tokenizer:
    """Turn an article's text into token ids (SentencePiece, any language).

    Source: Kudo and Richardson, "SentencePiece", EMNLP 2018.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise BundleError(f"{path}: not a SentencePiece model") from error
        if self._pieces.pad_id() != PAD_ID or self._pieces.unk_id() != UNKNOWN_ID:
            raise BundleError(f"{path}: padding must have id {PAD_ID}, unknown {UNKNOWN_ID}")
        self.vocabulary_size: int = self._pieces.get_piece_size()

    def pieces(self) -> list[str]:
        """Return the pieces in the order of their ids; the beginning of a word is marked "▁"."""
        return [self._pieces.id_to_piece(number) for number in range(self.vocabulary_size)]

    def encode(self, texts: list[str], num_tokens: int) -> NDArray[np.int32]:
        """Return token ids (len(texts), num_tokens) int32, cut or padded with `PAD_ID`."""
        ids = np.full((len(texts), num_tokens), PAD_ID, dtype=np.int32)
        # A piece has about four characters and never fewer than one byte-fallback token each;
        # cutting the text first keeps a 1 MB body from costing more than a short one.
        limit = num_tokens * 16
        for row, text in zip(ids, texts, strict=True):
            tokens = self._pieces.encode(text[:limit])[:num_tokens]
            row[: len(tokens)] = tokens
        return ids


def article_text(title: str | None, body: str | None, tags: Sequence[str] | None = None) -> str:
    r"""Return what the encoder reads of an article: tags first, so that a long body cuts none.

    Pass `tags` only to a model whose manifest says `reads_tags`; beyond the first `MOST_TAGS`
    they are left out, which leaves room for the text.

    >>> article_text("Title", None), article_text("", "Body"), article_text("Title", "Body")
    ('Title', 'Body', 'Title\nBody')
    >>> article_text("Title", "Body", ["economy", "local"])
    'economy, local\nTitle\nBody'
    """
    names = ", ".join((tags or ())[:MOST_TAGS])
    return "\n".join(part for part in (names, title, body) if part)
