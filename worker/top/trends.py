"""Which tags are hot, from the checkpoint of what all workers have counted.

The workers write one every half minute while there are clicks; here only the arrays of articles and
of tags are unpacked, and the tags of the hottest articles looked up. Sums over all readers, and
nothing of any of them.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import REF_BYTES
from worker.recommend.features import HALF_LIVES_H, HALF_LIVES_MS
from worker.redis_client import Client, get_many

HOT_H = 1.0
HOT_ARTICLES = 256
_HOT = HALF_LIVES_H.index(HOT_H)
_EVER = len(HALF_LIVES_H) - 1
_POSITION_BYTES = 48

_decoder = msgspec.msgpack.Decoder(EncodedArticle)


class TagTrend(msgspec.Struct, frozen=True):
    """A tag: its share of clicks now (they fade by half in an hour), and of all clicks ever."""

    tag: str
    share: float
    usual: float


class Trends(msgspec.Struct, frozen=True):
    """Tags, the hottest first. newest_ms: the click up to which was counted, epoch milliseconds."""

    tags: list[TagTrend]
    newest_ms: int


class HotArticles(NamedTuple):
    """From a checkpoint.

    Attributes:
        refs: (N,) int64 references of the hottest articles.
        clicks: (N,) faded clicks on each.
        usual: by tag, its share of all clicks.
        newest_ms: the newest click.
    """

    refs: NDArray[np.int64]
    clicks: NDArray[np.float64]
    usual: Mapping[str, float]
    newest_ms: int


class TagTrends:
    """Follow the checkpoint in Redis."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._position = b""
        self._model = ""
        self.latest: Trends | None = None
        """As of the last look that succeeded."""

    async def look(self, model_version: str | None) -> Trends | None:
        """Return the trends as of the latest checkpoint; None before the first.

        model_version: under which articles are held with their tags.
        """
        if model_version is None:
            return self.latest
        # Most of the time there is no new one: not to be fetched for nothing.
        head: Any = await self._client.getrange(keys.CHECKPOINT, 0, _POSITION_BYTES)
        position = head.partition(b" ")[0]
        if not position:
            self.latest = None
            return None
        if (position, model_version) != (self._position, self._model):
            dumped: Any = await self._client.get(keys.CHECKPOINT)
            found = hot_articles((dumped or b"").partition(b" ")[2])
            if found is not None:
                names = [keys.encoded(_ref(each), model_version) for each in found.refs.tolist()]
                held = await get_many(self._client, names)
                self.latest = trends_of(found, [_tags(each) for each in held])
            self._position, self._model = position, model_version
        return self.latest


def hot_articles(dumped: bytes) -> HotArticles | None:
    """Read a checkpoint; None of one that another version wrote, or without clicks."""
    try:
        with np.load(io.BytesIO(dumped), allow_pickle=False) as file:
            refs, counts, last_ms = file["refs"], file["counts"], file["last_ms"]
            tags, tag_counts = file["tags"].tolist(), file["tag_counts"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    if counts.ndim != 2 or counts.shape[1] != len(HALF_LIVES_H) or not len(refs):
        return None
    newest_ms = int(last_ms.max())
    if newest_ms < 0:
        return None
    age_ms = np.maximum(0, newest_ms - last_ms)
    hot = counts[:, _HOT] * np.exp2(-age_ms / HALF_LIVES_MS[_HOT])
    hottest = np.argsort(-hot, kind="stable")[:HOT_ARTICLES]
    hottest = hottest[hot[hottest] > 0]
    ever = float(counts[:, _EVER].sum())
    usual = {tag: float(row[-1]) / ever for tag, row in zip(tags, tag_counts, strict=True)}
    return HotArticles(refs[hottest], hot[hottest], usual, newest_ms)


def trends_of(found: HotArticles, tags: Sequence[Sequence[str]]) -> Trends:
    """Return the share of each tag. tags: of each article; an article may have several, or none.

    >>> hot = HotArticles(np.array([1, 2]), np.array([3.0, 1.0]), {"food": 0.5}, 0)
    >>> trends_of(hot, [["food"], ["food", "art"]]).tags  # doctest: +NORMALIZE_WHITESPACE
    [TagTrend(tag='food', share=1.0, usual=0.5), TagTrend(tag='art', share=0.25, usual=0.0)]
    """
    sums: dict[str, float] = {}
    for clicks, own in zip(found.clicks.tolist(), tags, strict=True):
        for tag in own:
            sums[tag] = sums.get(tag, 0.0) + clicks
    total = float(found.clicks.sum())
    in_order = sorted(sums.items(), key=lambda each: (-each[1], each[0]))
    return Trends(
        [TagTrend(tag, value / total, found.usual.get(tag, 0.0)) for tag, value in in_order],
        found.newest_ms,
    )


def _ref(number: int) -> bytes:
    return number.to_bytes(REF_BYTES, "big")


def _tags(packed: bytes | None) -> list[str]:
    try:
        return [] if packed is None else _decoder.decode(packed).tags
    except msgspec.MsgspecError:  # of another version
        return []
