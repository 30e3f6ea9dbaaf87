"""Ids of every kind on real Redis: each reader has what is theirs, and loses nothing else."""

import json

import pytest

from schemas import keys
from schemas.decode import decode_article, decode_click, decode_preferences
from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, num_clicks, pack_entry
from schemas.preferences import pack_preferences
from schemas.records import Article, Preferences
from tests.nasty_ids import NASTY
from worker.article_store import ArticleStore
from worker.erasure_store import ErasureStore
from worker.kept import export_reader, kept_of
from worker.reader_store import PageUpdate, ReaderStore, ReaderUpdate, ShownUpdate
from worker.redis_client import Client

TTL_MS = 60_000
NOW_MS = 1_800_000_000_000
LATE = article_ref("late")


def click_of(number: int) -> bytes:
    return pack_entry(1000 + number, f"e{number}", article_ref("a"))


def wish_of(user_id: str) -> bytes:
    """Make preferences that say profiling is allowed, whatever the id says."""
    return pack_preferences(Preferences(user_id=user_id, timestamp=5, blocked_tags=[user_id[:9]]))


async def fill(readers: ReaderStore) -> None:
    """Have of each reader something of every kind, in which their number is."""
    updates = [
        ReaderUpdate(
            user_id,
            None,
            merge(None, [click_of(number)], 8),
            b'{"p":%d}' % number,
            b'{"r":%d}' % number,
            [LATE],
        )
        for number, user_id in enumerate(NASTY)
    ]
    assert (await readers.write(updates)).lost == set()
    shown = [ShownUpdate(each.user_id, None, each.history, b"") for each in updates]
    assert await readers.write_showings(shown) == []
    pages = [
        PageUpdate(each.user_id, each.history, b'{"r":-%d}' % number, None, None, wish)
        for number, each in enumerate(updates)
        for wish in (wish_of(each.user_id),)
    ]
    assert await readers.write_pages(pages) == []


async def test_every_reader_has_what_is_theirs(client: Client) -> None:
    readers, erasures = ReaderStore(client, TTL_MS, "v1"), ErasureStore(client, TTL_MS, None)
    await fill(readers)
    held = await readers.read(NASTY, [])
    assert held.histories == [merge(None, [click_of(number)], 8) for number in range(len(NASTY))]
    assert held.showings == held.histories
    assert held.preferences == [*map(wish_of, NASTY)]
    assert (await readers.waiting([LATE]))[LATE] == {*NASTY}
    for number, user_id in enumerate(NASTY):
        found = await export_reader(client, user_id)
        assert found.user_id == user_id
        assert [each.checksum for each in found.clicks] == [click_of(number)[6:10].hex()]
        assert found.profile is not None and json.loads(bytes(found.profile)) == {"p": number}
        # Nobody's preferences stay for good for what stands in an id or in a tag.
        assert 0 < await client.pttl(keys.preferences(user_id)) <= TTL_MS

    # Erased one after the other, each takes nothing of the others along.
    left = [*NASTY]
    while left:
        gone, left = left[:7], left[7:]
        await erasures.erase(dict.fromkeys(gone, 2000), NOW_MS)
        for user_id in gone:
            assert await kept_of(client, user_id) == []
        histories = (await readers.read(left, [])).histories
        assert [num_clicks(packed) for packed in histories] == [1] * len(left)
        assert (await readers.waiting([LATE])).get(LATE, set()) == {*left}
    assert (await readers.read(NASTY, [])).marks == [b"2000"] * len(NASTY)
    names = {name async for name in client.scan_iter(count=1000)}
    others = {keys.ERASURE_SECRET, keys.KEPT_BESIDE, keys.WITHDRAWALS}
    marks = {name for name in names if name.startswith(b"erased:{")}
    assert len(marks) == len(NASTY)
    assert names - marks == {each.encode() for each in others}


async def test_every_article_is_its_own(client: Client) -> None:
    store = ArticleStore(client, TTL_MS, "v1")
    texts = [b'{"n":%d}' % number for number in range(len(NASTY))]
    encoded = [EncodedArticle(each, "v1", b"\0" * 4, [each], None) for each in NASTY]
    await store.put(texts, encoded)
    changes = await store.changes(0)
    assert changes.article_ids == [*NASTY] and await store.texts(NASTY) == texts
    assert await store.encoded(NASTY) == encoded
    await store.withdraw(NASTY[::2])
    assert await store.withdrawn(NASTY) == [number % 2 == 0 for number in range(len(NASTY))]
    assert await store.texts(NASTY[1::2]) == texts[1::2]
    await store.forget(NASTY)
    assert (await store.changes(0)).article_ids == []


@pytest.mark.parametrize("user_id", NASTY)
def test_they_come_through_a_message(user_id: str) -> None:
    told = {"user_id": user_id, "article_id": user_id, "event_id": user_id, "timestamp": 5}
    for ascii_only in (True, False):
        click = decode_click(json.dumps(told, ensure_ascii=ascii_only).encode(), NOW_MS)
        assert not isinstance(click, Article) and click is not None
        assert click.user_id == click.article_id == click.event_id == user_id
        article = decode_article(json.dumps({"article_id": user_id, "title": "T"}).encode(), NOW_MS)
        assert isinstance(article, Article) and article.article_id == user_id
        raw = json.dumps({**told, "blocked_articles": [user_id]}, ensure_ascii=ascii_only)
        assert decode_preferences(raw.encode(), NOW_MS).blocked_articles == [user_id]
