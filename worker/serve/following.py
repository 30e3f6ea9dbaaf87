"""The catalogue as workers have it, followed in Redis and never written to."""

from schemas.history import article_ref
from worker.article_store import ArticleStore
from worker.catalogue import Catalogue

ARTICLES_PER_READ = 256
TRIES = 20
"""How often an article is looked for that has no encoding yet. A worker that has just come with a
new model makes them; an article without text never gets one."""


class FollowedCatalogue:
    """Keep a catalogue equal to what workers of the same model have put into Redis."""

    def __init__(self, catalogue: Catalogue, store: ArticleStore) -> None:
        self._catalogue = catalogue
        self._store = store
        self._position = 0
        self._missing: dict[str, int] = {}

    async def follow(self) -> None:
        """Learn what changed since the last call."""
        changes = await self._store.changes(self._position)
        fresh = dict.fromkeys(changes.article_ids, TRIES)
        pending = [*fresh, *(each for each in self._missing if each not in fresh)]
        for start in range(0, len(pending), ARTICLES_PER_READ):
            await self._learn(pending[start : start + ARTICLES_PER_READ], fresh)
        self._position = changes.position

    async def _learn(self, article_ids: list[str], fresh: dict[str, int]) -> None:
        encoded = await self._store.encoded(article_ids)
        marks = await self._store.withdrawn(article_ids)
        both = list(zip(article_ids, encoded, marks, strict=True))
        # First: an article must not be on offer for a moment between the two.
        self._catalogue.withdraw(article_ref(each) for each, _, gone in both if gone)
        self._catalogue.bring_back(article_ref(each) for each, _, gone in both if not gone)
        for article_id, article, is_withdrawn in both:
            tries = fresh.get(article_id) or self._missing.pop(article_id, 0)
            self._missing.pop(article_id, None)
            if article is not None:
                self._catalogue.put(article)
            elif not is_withdrawn and tries > 1:
                self._missing[article_id] = tries - 1
