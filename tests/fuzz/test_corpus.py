"""What fuzzing has found, again; and what is too long for a fuzzer's inputs."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import MAX_MESSAGE_BYTES
from tests.fuzz.decoder import CORPUS, MAX_BYTES
from tests.fuzz.keep import keep
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import NOW_MS, TARGETS, check, outcome

INPUTS = sorted(CORPUS.iterdir())


def test_every_input_of_the_corpus_is_taken_or_refused() -> None:
    kinds = set()
    for path in INPUTS:
        data = path.read_bytes()
        assert len(data) <= MAX_BYTES
        check(data)
        kinds.add(data[0] % len(TARGETS))
    # Of each decoder there is something, or the corpus is not what it was.
    assert kinds == {*range(len(TARGETS))} and len(INPUTS) >= 40


@given(
    st.sampled_from(INPUTS).map(Path.read_bytes),
    st.lists(st.integers(0, 2**32), min_size=1, max_size=3),
    st.integers(0, len(TARGETS) - 1),
)
@settings(max_examples=300, deadline=None)
def test_what_is_like_the_corpus_is_taken_or_refused(
    data: bytes, seeds: list[int], target: int
) -> None:
    raw = data[2:]
    for seed in seeds:
        raw = mutated(raw, seed)
    check(bytes((target, data[1] if len(data) > 1 else 0)) + raw)


def repeated(before: bytes, part: bytes, after: bytes = b"") -> bytes:
    size = MAX_MESSAGE_BYTES - len(before) - len(after)
    return before + part * (size // len(part)) + after


@pytest.mark.parametrize("target", range(len(TARGETS)), ids=[each.name for each in TARGETS])
def test_the_longest_messages_take_no_time(target: int) -> None:
    """`check` measures it, each with what is done to it until it is sorted."""
    told = (
        b'{"user_id":"u","article_id":"a","timestamp":5,"requested_at":5,"event":"item","id":"i",'
    )
    for raw in (
        repeated(b"", b"["),
        repeated(b"", b'{"a":'),
        repeated(told + b'"x":', b"["),
        repeated(told + b'"title":"', b"x", b'"}'),
        repeated(told + b'"title":"', b"\\u00e4", b'"}'),
        repeated(told + b'"title":"', b"\\\\", b'"}'),
        repeated(told + b'"tags":[', b'"t",', b'"t"]}'),
        repeated(told + b'"candidates":[', b'"t",', b'"t"],"clicked":[]}'),
        repeated(told + b'"candidates":["a"],"clicked":[', b'"t",', b'"t"]}'),
        repeated(
            told + b'"item":"a","fields":[', b'{"name":"n"},', b'{"name":"title","value":"t"}]}'
        ),
        repeated(told + b'"x":', b"9", b"}"),
        repeated(b'{"timestamp":', b"9", b"}"),
        repeated(told, b'"user_id":"u",', b'"tags":[]}'),
        repeated(b"", b"\xff"),
        repeated(b"", b"\x00"),
        repeated(b"", b" "),
    ):
        assert len(raw) <= MAX_MESSAGE_BYTES
        check(bytes((target, 3)) + raw)
        check(bytes((target, 3)) + raw + b" " * 100)


def test_a_longer_one_is_refused_unread() -> None:
    for target in TARGETS:
        reason = outcome(target.decode, b"[" * (MAX_MESSAGE_BYTES + 1))
        assert reason == ("invalid" if target.by_key else "oversized"), target.name


def test_what_takes_a_new_way_is_kept(tmp_path: Path) -> None:
    found, corpus = tmp_path / "found", tmp_path / "corpus"
    for path in (found, corpus):
        path.mkdir()
    click = b'{"user_id":"u","article_id":"a","timestamp":5}'
    (corpus / "click").write_bytes(b"\0\3" + click)
    (found / "another").write_bytes(b"\0\3" + click.replace(b'"u"', b'"v"'))
    (found / "refused").write_bytes(b"\0\3{")
    (found / "also-refused").write_bytes(b"\0\3{{{{")
    assert keep(found, corpus) == 1
    assert {path.read_bytes() for path in corpus.iterdir()} == {b"\0\3" + click, b"\0\3{"}


def test_a_mutation_is_json_where_the_message_was() -> None:
    raw = json.dumps({"user_id": "u", "timestamp": NOW_MS, "tags": ["a"]}).encode()
    found = {mutated(raw, seed) for seed in range(300)}
    assert len(found) > 100
    for each in found:
        json.loads(each.decode(errors="surrogatepass"))
    assert mutated(b"{", 7) == b"{"
