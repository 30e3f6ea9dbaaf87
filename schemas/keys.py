"""The names of the Redis keys.

A reader's keys share the hash tag `{user_id}`, so that Redis Cluster keeps them on one
node and one script can write them together. Ids are written as they are, but for the three
characters that would break the tag: `{`, `}` and `%` are percent-encoded. The encoding is
injective: two readers never share a key.

The mark of an erased reader must not name the reader, and lie on that node all the same: its tag
is a number that belongs to the same slot of a cluster.
"""

from binascii import crc_hqx
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import count

CATALOGUE_INDEX = "{catalogue}:index"
"""Sorted set: article_id by the sequence number of its latest change."""

CATALOGUE_SEQUENCE = "{catalogue}:sequence"
"""Counter: the sequence number of the latest change."""

CATALOGUE_SUMS = "{catalogue}:sums"
"""Hash: by article_id, a checksum of the text that counts; see `schemas.encoded.text_sum`."""

MODELS_SERVED = "{catalogue}:models"
"""Sorted set: model_version by when a worker last began to serve it, epoch milliseconds."""

CLICK_LOG = "{statistics}:log"
"""Stream: counted clicks and impressions, in the order in which every worker counts them."""

CHECKPOINT = "{statistics}:checkpoint"
"""Statistics up to a position of the click log."""

STATISTICS_EPOCH = "{statistics}:epoch"
"""Drawn when the statistics begin: another one means a Redis that came back empty."""

LOG_TRIMMED = "{statistics}:trimmed"
"""Up to where the click log has been cut; who has not read so far loads the checkpoint."""

CHECKPOINT_LOCK = "{statistics}:lock"
"""There while a checkpoint is young enough; whoever sets it writes the next."""

KEPT_BESIDE = "{readers}:kept-beside"
"""There when any reader has more than a history: showings or preferences."""

ERASURE_SECRET = "{readers}:erasure-secret"
"""There when any reader has been erased: what the names of the marks are hashed with."""

WITHDRAWALS = "{readers}:withdrawals"
"""Counter: how often something that was stored, and sent, of readers has been taken back."""

WAITING = "waiting:*"
"""Pattern of the sets of readers who wait for an article."""

_CLUSTER_SLOTS = 16_384

_ESCAPES = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


def profile(user_id: str) -> str:
    """Name the JSON `Profile` of a reader.

    >>> profile("42"), profile("a}b")
    ('profile:{42}', 'profile:{a%7Db}')
    """
    return f"profile:{{{user_id.translate(_ESCAPES)}}}"


def history(user_id: str) -> str:
    """Name the packed history of a reader (see `schemas.history`)."""
    return f"history:{{{user_id.translate(_ESCAPES)}}}"


def showings(user_id: str) -> str:
    """Name what a reader was shown lately (see `schemas.showings`)."""
    return f"showings:{{{user_id.translate(_ESCAPES)}}}"


def preferences(user_id: str) -> str:
    """Name the JSON `Preferences` of a reader."""
    return f"preferences:{{{user_id.translate(_ESCAPES)}}}"


def recs(user_id: str) -> str:
    """Name the JSON `Recommendation` of a reader."""
    return f"recs:{{{user_id.translate(_ESCAPES)}}}"


def written(user_id: str) -> tuple[str, str, str, str]:
    """Name what a click of a reader writes or checks.

    >>> written("42")
    ('history:{42}', 'profile:{42}', 'recs:{42}', 'preferences:{42}')
    """
    tag = user_id.translate(_ESCAPES)
    return f"history:{{{tag}}}", f"profile:{{{tag}}}", f"recs:{{{tag}}}", f"preferences:{{{tag}}}"


def unreadable(user_id: str) -> str:
    """Name a history that was set aside because its format is unknown."""
    return f"unreadable:{{{user_id.translate(_ESCAPES)}}}"


def tag_of(user_id: str) -> str:
    """Return how an id is written in the names of keys.

    >>> tag_of("a}b")
    'a%7Db'
    """
    return user_id.translate(_ESCAPES)


def of_reader(user_id: str) -> tuple[str, ...]:
    """Name everything that is kept under a reader's name.

    >>> of_reader("42")[:2]
    ('history:{42}', 'showings:{42}')
    """
    kinds = (history, showings, preferences, profile, recs, unreadable)
    return tuple(kind(user_id) for kind in kinds)


@lru_cache(8192)  # named to read it, and once more to write: 3 us each
def erased(user_id: str, secret: bytes) -> str:
    """Name the mark that a reader has been erased; without the secret it does not say whose it is.

    >>> erased("42", b"secret")
    'erased:{42}:a9319e45aaa971de4af4a3f56e1551bc'
    """
    name = tag_of(user_id).encode()
    tag = _tags_of_slots()[crc_hqx(name, 0) % _CLUSTER_SLOTS]
    return f"erased:{{{tag}}}:{blake2b(name, digest_size=16, key=secret).hexdigest()}"


@cache
def _tags_of_slots() -> list[str]:
    """Return the smallest number that lies on each slot of a cluster; takes 0.1 s, once."""
    found: dict[int, str] = {}
    numbers = count()
    while len(found) < _CLUSTER_SLOTS:
        tag = str(next(numbers))
        found.setdefault(crc_hqx(tag.encode(), 0) % _CLUSTER_SLOTS, tag)
    return [found[slot] for slot in range(_CLUSTER_SLOTS)]


def article(article_id: str) -> str:
    """Name the JSON `Article` (its body cut to what the encoder reads)."""
    return f"article:{{{article_id.translate(_ESCAPES)}}}"


def withdrawn(article_id: str) -> str:
    """Name the mark of an article that is recommended no more."""
    return f"withdrawn:{{{article_id.translate(_ESCAPES)}}}"


def encoded(article_ref: bytes, model_version: str) -> str:
    """Name the encoded article (see `schemas.encoded`), by the reference that histories hold.

    Each model has its own, so that workers of two models can run side by side.

    >>> encoded(bytes.fromhex("0102030405ff"), "ee3d6fbd757f")
    'encoded:{0102030405ff}:ee3d6fbd757f'
    """
    return f"encoded:{{{article_ref.hex()}}}:{model_version}"


def waiting(article_ref: bytes, model_version: str) -> str:
    """Name the set of readers whose profile lacks an article that is not known yet."""
    return f"waiting:{{{article_ref.hex()}}}:{model_version}"
