"""What the worker keeps of an article once it is encoded: `encoded:{ref}:…`, MessagePack."""

from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray


class EncodedArticle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An article as the catalogue holds it; shared by all workers.

    `row` is the encoder's output for the article as little-endian bytes: float32 (D,) of a
    two-stage bundle, int32 token ids (T,) of the one-graph reference bundle. `terms` is what
    `worker.terms.article_terms` made of tags and text; empty in records of older workers, as is
    `text_sum`, which tells what text all of it was made from.
    """

    article_id: str
    model_version: str
    row: bytes
    tags: list[str]
    published_ms: int | None
    language: str | None = None
    terms: bytes = b""
    text_sum: bytes = b""

    def array(self, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return the row as an array.

        >>> EncodedArticle("a", "v", b"\\0\\0\\x80?", [], None).array(np.dtype("<f4"))
        array([1.], dtype=float32)
        """
        return np.frombuffer(self.row, dtype=dtype)


def text_sum(text: bytes) -> bytes:
    """Return a checksum of an article as `article:` holds it, 8 bytes.

    >>> text_sum(b'{"article_id":"a"}').hex()
    '542335a38d7e1156'
    """
    return blake2b(text, digest_size=8).digest()
