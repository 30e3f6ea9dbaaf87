"""What may be shown of articles: asked for once, and again when any article has changed."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from schemas import keys
from worker.serve.records import ArticleSummary, PageItem

MAX_KNOWN = 20_000
KNOWN_S = 5.0
"""A new text comes a moment after the number that announces it: what was read in between is wrong
for so long. What is withdrawn is so at once."""

_decoder = msgspec.json.Decoder(ArticleSummary)


class Shown(NamedTuple):
    """What may be shown of an article."""

    is_withdrawn: bool
    summary: ArticleSummary | None
    """None where the article has expired."""


class KnownArticles:
    """Remember what was read of articles, as long as `{catalogue}:sequence` stays as it is.

    Every change of an article and every withdrawal moves it, after the mark of a withdrawal is
    there. So one more key in the command that reads a page says whether all is as it was.

    get: reads keys.
    """

    def __init__(self, get: Callable[[Sequence[str]], Awaitable[list[bytes | None]]]) -> None:
        self._get = get
        self._known: dict[str, Shown] = {}
        self._sequence: bytes | None = None
        self._since_s = 0.0

    async def of(self, article_ids: Sequence[str], sequence: bytes | None) -> dict[str, Shown]:
        """Return what may be shown of articles. sequence: as it has just been read."""
        now_s = time.monotonic()
        is_old = now_s - self._since_s > KNOWN_S or len(self._known) > MAX_KNOWN
        if is_old or sequence != self._sequence:
            self._known, self._sequence, self._since_s = {}, sequence, now_s
        known = self._known
        missing = [each for each in article_ids if each not in known]
        if not missing:
            return known
        read = await self._read(missing)
        # Into what was begun with the sequence of before the reading, whatever came meanwhile.
        known.update(read)
        return known

    async def _read(self, article_ids: Sequence[str]) -> dict[str, Shown]:
        marks = [keys.withdrawn(each) for each in article_ids]
        values = await self._get([*marks, *map(keys.article, article_ids)])
        size = len(article_ids)
        return {
            each: Shown(mark is not None, None if text is None else _decoder.decode(text))
            for each, mark, text in zip(article_ids, values[:size], values[size:], strict=True)
        }


def showable(
    items: Sequence[PageItem], articles: dict[str, Shown], *, with_articles: bool
) -> list[PageItem]:
    """Return the items that are not withdrawn; with what is shown of each where that is wanted."""
    kept = [each for each in items if not articles[each.article_id].is_withdrawn]
    if not with_articles:
        return kept
    replace = msgspec.structs.replace
    return [replace(each, article=articles[each.article_id].summary) for each in kept]
