"""What would have come out had nothing happened, and the comparison that every scenario ends with.

The reference is computed, not another run: histories by sorting what was published (see
`tests.expected`), profiles from these histories by the model alone, without Kafka and Redis.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from schemas.encoded import EncodedArticle
from schemas.reading_set import ReadingSet
from schemas.records import Article, Click, DeadLetter, Recommendation
from schemas.timestamps import to_ms
from tests.e2e.installation import Installation, wait_until
from tests.expected import histories
from tests.faults.poison import Place, Reasons
from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.catalogue import Catalogue
from worker.eye import Eye
from worker.messages import recommendation_id
from worker.model import load_model
from worker.profile_json import ProfileWriter
from worker.replay import Offsets, Progress
from worker.settings import Settings
from worker.snapshot_reader import TopicReader

SHOWN = 3
"""Readers named where some differ."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _NoStore:
    """Stands for Redis: holds nothing, and keeps nothing."""

    async def texts(self, article_ids: Sequence[str]) -> list[bytes | None]:
        return [None] * len(article_ids)

    async def put(self, texts: Sequence[bytes], encoded: Sequence[EncodedArticle]) -> None:
        """Forget it: the catalogue has it."""


class Undisturbed:
    """What follows from clicks if nothing breaks."""

    def __init__(self, bundle: Path, newsroom: Path) -> None:
        self._model = load_model(bundle)
        self._catalogue = Catalogue(self._model.manifest.row_width, self._model.row_dtype)
        self.articles: list[Article] = list(ReadingSet(newsroom).articles())
        articles = Articles(self._model, self._catalogue, cast("ArticleStore", _NoStore()))
        asyncio.run(articles.take(self.articles))
        self._settings = Settings()
        self._eye = Eye(self._catalogue, self._model, self._settings.tag_half_life_days)
        self._writer = ProfileWriter(self._catalogue, self._model.manifest.model_version)

    @property
    def article_ids(self) -> list[str]:
        """The articles that are there to be clicked."""
        return [article.article_id for article in self.articles]

    @property
    def begin_ms(self) -> int:
        """When the last article has been published, epoch milliseconds."""
        return max(to_ms(each.published_at) for each in self.articles if each.published_at)

    def histories(self, clicks: Iterable[Click]) -> dict[str, bytes]:
        """Return each reader's history."""
        return histories(clicks, self._settings.history_size)

    def profiles(self, histories: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
        """Return each reader's profile, without the time it was computed at."""
        users = list(histories)
        seen = self._eye.see(list(histories.values()))
        assert seen.estimates is not None
        written = self._writer.write(
            users, seen.reading, seen.estimates, seen.tastes.interests, _EPOCH
        )
        return {user: timeless(raw) for user, raw in zip(users, written, strict=True)}

    def page_ids(self, histories: Mapping[str, bytes]) -> dict[str, str]:
        """Return the id of the page that follows from each reader's last click."""
        version = self._model.manifest.model_version
        return {user: recommendation_id(packed, version) for user, packed in histories.items()}


def timeless(raw: bytes) -> dict[str, Any]:
    """Decode a profile and leave out the time it was computed at."""
    profile: dict[str, Any] = msgspec.json.decode(raw)
    del profile["updated_at"]
    return profile


def check_outcome(
    site: Installation,
    undisturbed: Undisturbed,
    clicks: Iterable[Click],
    *,
    bad: Mapping[Place, Reasons] | None = None,
    timeout_s: float = 120.0,
) -> None:
    """Fail unless everything is as it would have been had nothing happened.

    clicks: all that are good. bad: what belongs into the dead letters, with one of these
    reasons.
    """
    reader = TopicReader(site.settings)
    try:
        _check_commits(site, reader, timeout_s)
        expected = undisturbed.histories(clicks)
        _check_redis(site, undisturbed, expected)
        _check_topics(site, reader, expected)
        _check_dead_letters(site, reader, bad or {})
    finally:
        reader.close()


def _check_commits(site: Installation, reader: TopicReader, timeout_s: float) -> None:
    # From what is on the topics, as a producer does not learn of all that it sent twice.
    ends: Offsets = {}
    for topic in sorted({topic for topic, _ in site.ends}):
        for message in _messages(reader, topic):
            ends[topic, message.partition()] = message.offset() + 1
    assert all(ends[place] >= end for place, end in site.ends.items()), "the broker lost messages"
    progress = Progress(site.client_config, site.settings.app_id, ends)
    try:
        wait_until("all committed", lambda: progress.num_left() == 0, timeout_s)
    finally:
        progress.close()


def _check_redis(
    site: Installation, undisturbed: Undisturbed, expected: Mapping[str, bytes]
) -> None:
    _same("history", site.histories(), expected)
    profiles = {user: timeless(raw) for user, raw in site.values("profile").items()}
    _same("profile", profiles, undisturbed.profiles(expected))
    held = {user: page.recommendation_id for user, page in site.recommendations().items()}
    _same("id of the page", held, undisturbed.page_ids(expected))
    assert not list(site.redis.scan_iter("waiting:*")), "readers wait for articles that are there"


def _check_topics(site: Installation, reader: TopicReader, expected: Collection[str]) -> None:
    """Look whether what Redis holds was emitted, and of profiles that nothing came after it."""
    topics = site.settings.topics
    emitted: dict[str, set[str]] = {user: set() for user in expected}
    for message in _messages(reader, topics.recommendations):
        page = msgspec.json.decode(message.value(), type=Recommendation)
        assert message.key().decode() == page.user_id
        emitted[page.user_id].add(page.recommendation_id)
    held = {user: page.recommendation_id for user, page in site.recommendations().items()}
    never = [user for user in expected if held[user] not in emitted[user]]
    assert not never, f"{len(never)} pages were never emitted: {never[:SHOWN]}"
    last: dict[str, dict[str, Any]] = {}
    for message in _messages(reader, topics.profiles):
        last[message.key().decode()] = timeless(message.value())
    profiles = {user: timeless(raw) for user, raw in site.values("profile").items()}
    _same("last profile on the topic", last, profiles)


def _check_dead_letters(
    site: Installation, reader: TopicReader, bad: Mapping[Place, Reasons]
) -> None:
    found: dict[Place, str] = {}
    for message in _messages(reader, site.settings.topic_dead_letters):
        letter = DeadLetter.from_headers(message.headers())
        found[letter.topic, letter.partition, letter.offset] = letter.reason
    missing, invented = sorted(bad.keys() - found.keys()), sorted(found.keys() - bad.keys())
    assert not missing, (
        f"{len(missing)} of {len(bad)} are not in the dead letters: {missing[:SHOWN]}"
    )
    assert not invented, f"{len(invented)} dead letters are not bad: {invented[:SHOWN]}"
    wrong = [(place, found[place]) for place in bad if found[place] not in bad[place]]
    assert not wrong, f"{len(wrong)} dead letters have another reason: {wrong[:SHOWN]}"


def _messages(reader: TopicReader, topic: str) -> Iterable[Any]:
    return reader.read(topic, reader.find([topic])[topic])


def _same(what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    """Compare without pytest's explanation, which takes minutes for thousands of readers."""
    differing = sorted(
        key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)
    )
    told = [(key, found.get(key), expected.get(key)) for key in differing[:SHOWN]]
    assert not differing, f"{what}: {len(differing)} of {len(expected)} differ: {told!r:.2000}"
