"""Small catalogues and histories for the tests of the pure core."""

import numpy as np

from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from worker.catalogue import Catalogue
from worker.terms import article_terms

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000
WIDTH = 4


def article(
    article_id: str,
    tags: list[str],
    *,
    age_h: float | None = 0.0,
    language: str | None = None,
    value: float = 1.0,
    title: str | None = None,
) -> EncodedArticle:
    published = None if age_h is None else NOW_MS - int(age_h * HOUR_MS)
    row = np.full(WIDTH, value, dtype="<f4").tobytes()
    terms = article_terms(title, None, tags)
    return EncodedArticle(article_id, "v1", row, tags, published, language, terms)


def catalogue(*articles: EncodedArticle) -> Catalogue:
    found = Catalogue(WIDTH, np.dtype("<f4"))
    for each in articles:
        found.put(each)
    return found


def history(*clicks: tuple[str, float]) -> bytes:
    """Pack clicks given as article id and hours before now."""
    entries = [
        pack_entry(NOW_MS - int(hours * HOUR_MS), f"{article_id}@{hours}", article_ref(article_id))
        for article_id, hours in clicks
    ]
    return merge(None, entries, 1024)
