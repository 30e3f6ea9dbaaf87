"""Dead letters: what is read of them, which are chosen, how they are printed."""

import base64
import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import DeadLetter
from worker.dead_letters import UNREADABLE, Letter, Wanted, letter_of
from worker.dead_letters_command import dead_letters
from worker.dead_letters_republish import How, Plan
from worker.dead_letters_text import Summary, escaped, json_line, line

ABOUT = DeadLetter(reason="malformed", topic="clicks", partition=3, offset=1207, size=58)
TIME_MS = 1_790_000_000_000
Headers = list[tuple[str, bytes | None]]


class FakeMessage:
    """What a consumer returns."""

    def __init__(
        self, headers: Headers | None, value: bytes | None = b"v", time_ms: int = TIME_MS
    ) -> None:
        self._headers, self._value, self._time_ms = headers, value, time_ms

    def topic(self) -> str:
        return "dead-letters"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 17

    def timestamp(self) -> tuple[int, int]:
        kind = TIMESTAMP_NOT_AVAILABLE if self._time_ms < 0 else TIMESTAMP_CREATE_TIME
        return kind, self._time_ms

    def headers(self) -> Headers | None:
        return self._headers

    def key(self) -> bytes:
        return b"jane"

    def value(self) -> bytes | None:
        return self._value


def read(headers: Headers | None, *, contents: bool = True, **more: Any) -> Letter:
    return letter_of(FakeMessage(headers, **more), contents=contents)  # type: ignore[arg-type]


def letter(offset: int = 0, time_ms: int | None = TIME_MS, **about: Any) -> Letter:
    described = msgspec.structs.replace(ABOUT, **about)
    return Letter(f"dead[0]@{offset}", 0, offset, time_ms, described, described.size)


def without(name: str) -> Headers:
    return [each for each in ABOUT.headers() if each[0] != name]


def test_a_letter_is_read_as_the_worker_wrote_it() -> None:
    found = read([*ABOUT.headers()])
    assert (found.about, found.time_ms, found.size) == (ABOUT, TIME_MS, 58)
    assert (found.key, found.value, found.place) == (b"jane", b"v", "dead-letters[1]@17")


def test_what_is_not_to_be_shown_is_not_held() -> None:
    found = read([*ABOUT.headers()], contents=False)
    assert (found.key, found.value, found.size) == (None, None, 58)


def test_other_headers_do_not_matter() -> None:
    assert read([*ABOUT.headers(), ("trace", b"\xff"), ("empty", None)]).about == ABOUT


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        without("reason"),
        without("offset"),
        [*without("topic"), ("topic", None)],
        [*without("topic"), ("topic", b"\xff")],
        [*without("topic"), ("topic", b"\x1b[2J")],
        [*without("topic"), ("topic", b"dead-letters")],
        [*without("reason"), ("reason", b"a reader's words")],
        [*without("partition"), ("partition", b"-1")],
        [*without("offset"), ("offset", str(2**63).encode())],
        [*without("size"), ("size", b"many")],
        [*ABOUT.headers(), ("republished-from", b"jane@example.org\x7f")],
    ],
)
def test_headers_that_are_no_workers_make_a_letter_unreadable(headers: Headers | None) -> None:
    found = read(headers, value=None)
    assert (found.about, found.reason, found.topic, found.size) == (None, UNREADABLE, None, 0)
    assert "unreadable  dead-letters[1]@17  0 bytes" in line(found, contents=False)
    assert json.loads(json_line(found, contents=False))["topic"] is None


def test_filters() -> None:
    unreadable = Letter("dead[0]@9", 0, 9, None, None, 0)
    letters = [
        letter(0, TIME_MS),
        letter(1, TIME_MS + 1, reason="future"),
        letter(2, TIME_MS + 2, topic="articles"),
        letter(3, None),
        unreadable,
    ]

    def chosen(**wanted: Any) -> list[int]:
        return [each.offset for each in Wanted(**wanted).choose(letters)]

    assert chosen() == [0, 1, 2, 3, 9]
    assert chosen(reasons=frozenset({"future", UNREADABLE})) == [1, 9]
    assert chosen(topics=frozenset({"clicks"})) == [0, 1, 3]
    assert chosen(topics=frozenset({"articles"}), reasons=frozenset({"future"})) == []
    assert chosen(since_ms=TIME_MS + 1) == [1, 2]
    assert chosen(until_ms=TIME_MS + 1) == [0]
    assert chosen(since_ms=TIME_MS + 1, until_ms=TIME_MS + 2) == [1]
    assert chosen(since_ms=0) == [0, 1, 2]


def test_a_limit_takes_the_newest_oldest_of_them_first() -> None:
    letters = [letter(number, TIME_MS + (number * 7) % 10) for number in range(10)]
    letters.append(letter(99, None))
    times = [each.time_ms for each in Wanted(limit=3).choose(letters)]
    assert times == [TIME_MS + 7, TIME_MS + 8, TIME_MS + 9]
    assert len([*Wanted(limit=50).choose(letters)]) == 11


def test_a_line_has_no_key_and_no_value_unless_they_are_asked_for() -> None:
    found = read([*ABOUT.headers()], value=b"a reader's words")
    for text in (line(found, contents=False), json_line(found, contents=False)):
        assert "jane" not in text and "words" not in text
    assert line(found, contents=True).splitlines()[1:] == [
        "    key:   jane",
        "    value: a reader's words",
    ]
    fields = json.loads(json_line(found, contents=True))
    assert base64.b64decode(fields["value"]) == b"a reader's words"


def test_a_line_of_a_truncated_letter_that_was_republished_says_both() -> None:
    about = {"size": 1_200_000, "truncated": True, "republished_from": "dead[0]@3"}
    assert line(letter(**about), contents=False) == (
        "2026-09-21T14:13:20.000Z  malformed   clicks[3]@1207  1,200,000 bytes  truncated"
        "  republished from dead[0]@3"
    )


def test_json_has_everything_but_the_contents() -> None:
    assert json.loads(json_line(letter(5), contents=False)) == {
        "time": "2026-09-21T14:13:20.000Z",
        "reason": "malformed",
        "topic": "clicks",
        "partition": 3,
        "offset": 1207,
        "size": 58,
        "truncated": False,
        "republished_from": None,
        "letter_partition": 0,
        "letter_offset": 5,
    }


@given(st.binary() | st.text().map(str.encode))
def test_nothing_that_is_printed_controls_a_terminal(raw: bytes) -> None:
    assert escaped(raw).isprintable()


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_different_bytes_are_printed_differently(one: bytes, other: bytes) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


def test_the_summary_counts_by_topic_and_reason() -> None:
    summary = Summary()
    assert summary.text() == "0 letters"
    for each in (letter(), letter(), letter(reason="oversized", truncated=True)):
        summary.add(each)
    summary.add(Letter("dead[0]@9", 0, 9, None, None, 0))
    assert summary.text().splitlines() == [
        "clicks: malformed: 2",
        "clicks: oversized: 1",
        "unknown topic: unreadable: 1",
        "4 letters, 1 truncated",
    ]


def test_a_plan_leaves_out_what_cannot_or_need_not_be_sent() -> None:
    letters = [
        letter(0),
        letter(1, topic="articles"),
        letter(2, truncated=True),
        letter(3, republished_from="dead[0]@0"),
        Letter("dead[0]@4", 0, 4, TIME_MS, None, 0),
    ]
    plan = Plan(letters, How())
    assert plan.places == {(0, 0): "clicks", (0, 1): "articles"}
    assert plan.left_out == {"truncated": 1, "republished before": 1, "unreadable": 1}
    plan = Plan(letters, How(to="elsewhere", from_source=True, again=True))
    assert plan.targets == {"elsewhere": 4}
    assert plan.left_out == {"unreadable": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--since", "yesterday"],
        ["list", "--since", "5", "--until", "5"],
        ["list", "--limit", "0"],
        ["republish", "--to", "dead-letters", "--yes"],
        ["forget"],
    ],
)
def test_wrong_options_are_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(dead_letters, arguments).exit_code == 2
