"""No id is taken for another's, whatever is in it: every key function is injective."""

from collections.abc import Callable
from itertools import combinations
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import keys
from schemas.decode import check_id
from schemas.errors import InvalidMessageError
from schemas.history import article_ref
from tests.nasty_ids import NASTY

SECRET = b"secret"
KINDS: tuple[Callable[[str], str], ...] = (
    keys.history,
    keys.showings,
    keys.preferences,
    keys.profile,
    keys.recs,
    keys.unreadable,
    keys.article,
    keys.withdrawn,
    lambda user_id: keys.erased(user_id, SECRET),
)
SHARED = {name: value for name, value in vars(keys).items() if name.isupper() and name[0] != "_"}

# Few characters, and those that matter, so that two ids are likely to be nearly the same.
tricky = st.text(st.sampled_from("{}%257BDbda:*\x00\n漢"), min_size=1, max_size=6)
ids = st.one_of(tricky, st.sampled_from(NASTY), st.text(min_size=1, max_size=40)).filter(
    lambda text: not any("\ud800" <= each <= "\udfff" for each in text)
)


def slot_text(key: str) -> str:
    """Return what a Redis Cluster hashes of a key: what is in the first braces, if anything is."""
    _, opened, rest = key.partition("{")
    inside, closed, _ = rest.partition("}")
    return inside if opened and closed and inside else key


@given(ids, ids)
@settings(deadline=None)  # the first name of a mark takes longer
@example("a}b", "a%7Db")
@example("%", "%25")
def test_two_ids_share_no_key(one: str, other: str) -> None:
    of_one, of_other = ({kind(each) for kind in KINDS} for each in (one, other))
    assert len(of_one) == len(KINDS) and of_one.isdisjoint(SHARED.values())
    assert of_one == of_other if one == other else of_one.isdisjoint(of_other)


@settings(deadline=None)
@given(ids)
def test_an_id_can_be_read_off_its_key(user_id: str) -> None:
    for kind in KINDS[:-1]:
        name = kind(user_id)
        assert unquote_to_bytes(slot_text(name)) == user_id.encode()
        assert name.count("{") == name.count("}") == 1 and name.endswith("}")


@settings(deadline=None)
@given(ids)
def test_a_readers_keys_lie_on_one_node(user_id: str) -> None:
    own = {*keys.of_reader(user_id), *keys.written(user_id)}
    assert {slot_text(name) for name in own} == {keys.tag_of(user_id)}
    assert len(own) == len(keys.of_reader(user_id))


@settings(deadline=None)
@given(ids, st.binary(min_size=1, max_size=32), st.binary(min_size=1, max_size=32))
def test_a_mark_does_not_say_whose_it_is(user_id: str, secret: bytes, other: bytes) -> None:
    name = keys.erased(user_id, secret)
    tag, _, digest = name.removeprefix("erased:{").partition("}:")
    assert tag.isdecimal() and len(digest) == 32
    assert (keys.erased(user_id, other) == name) == (secret == other)


def test_ids_of_every_kind_are_told_apart() -> None:
    for kind in (*KINDS, lambda each: article_ref(each).hex()):
        found = {kind(each) for each in NASTY}
        assert len(found) == len(NASTY) == len({*NASTY})
    # Not normalised: two ways to write the same letters are two readers.
    assert all(one != other for one, other in combinations(map(keys.tag_of, NASTY), 2))


@pytest.mark.parametrize("user_id", ["x" * 10_240, "ä" * 257, "\ud800", "a\udfff", "\udc80"])
def test_what_is_too_long_or_no_unicode_is_no_id(user_id: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        check_id(user_id)
    assert caught.value.reason == "invalid" and "xxx" not in str(caught.value)


@pytest.mark.parametrize("user_id", NASTY)
def test_what_is_odd_is_an_id(user_id: str) -> None:
    check_id(user_id)
