"""The contracts that are written down: schema files, keys, imports."""

import re
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from schemas import json_schema, keys
from schemas.decode import decode_click
from schemas.errors import InvalidMessageError
from schemas.records import MAX_ID_BYTES, Click
from schemas.topics import Topics

ids = st.one_of(
    st.text(min_size=1, max_size=20),
    st.text("{}%\n\r\0 :*[]\"'", min_size=1, max_size=8),
    st.text(min_size=600, max_size=10_000),
)
KINDS = (
    keys.profile,
    keys.history,
    keys.recs,
    keys.showings,
    keys.preferences,
    keys.unreadable,
)


def test_the_schema_files_are_current() -> None:
    on_disk = {path.name: path.read_text() for path in json_schema.DIRECTORY.glob("*.json")}
    assert on_disk == json_schema.generate(), "run `python -m schemas.json_schema`"


@given(ids, ids)
def test_two_readers_never_share_a_key(one: str, other: str) -> None:
    for kind in (*KINDS, keys.tag_of):
        assert (kind(one) == kind(other)) == (one == other)
    assert not {*keys.of_reader(one)} & {*keys.of_reader(other)} or one == other
    ours = {keys.KEPT_BESIDE, keys.ERASURE_SECRET, keys.WITHDRAWALS, keys.CLICK_LOG}
    assert ours.isdisjoint(keys.of_reader(one))


@given(ids)
def test_a_readers_keys_share_a_hash_tag(user_id: str) -> None:
    names = [kind(user_id) for kind in KINDS]
    assert {*names} == {*keys.of_reader(user_id)}
    # Redis Cluster: from the first `{` to the first `}` after it.
    tags = {name[name.index("{") + 1 : name.index("}")] for name in names}
    assert len(tags) == 1 and tags != {""}


@given(ids)
def test_the_mark_of_an_erased_reader_lies_beside_the_reader_and_names_nobody(
    user_id: str,
) -> None:
    name = keys.erased(user_id, b"secret")
    assert re.fullmatch(r"erased:\{[0-9]+\}:[0-9a-f]{32}", name)
    assert key_slot(name.encode()) == key_slot(keys.history(user_id).encode())
    assert name != keys.erased(user_id, b"another")
    assert name == keys.erased(user_id, b"secret")


@given(st.text(min_size=1))
def test_an_id_is_accepted_where_a_key_can_be_made_of_it(user_id: str) -> None:
    raw = msgspec.json.encode({"user_id": user_id, "article_id": "a", "timestamp": 1})
    try:
        found = decode_click(raw, 1)
    except InvalidMessageError as error:
        assert error.reason == "invalid" and len(user_id.encode()) > MAX_ID_BYTES
    else:
        assert isinstance(found, Click) and found.user_id == user_id
        keys.history(found.user_id).encode()


def test_an_id_of_ten_kilobytes_is_a_dead_letter() -> None:
    for user_id in ("x" * 10_000, "漢" * 171, "{" * 513):
        raw = msgspec.json.encode({"user_id": user_id, "article_id": "a", "timestamp": 1})
        with pytest.raises(InvalidMessageError, match="invalid"):
            decode_click(raw, 1)


def test_compaction_is_never_asked_for_a_topic_with_clicks() -> None:
    shared = Topics(articles="events", clicks="events")
    assert shared.config("events") == {}
    assert Topics().config("articles") == {"cleanup.policy": "compact"}


@pytest.mark.parametrize("module", ["worker.app", "worker.commands", "worker.model", "schemas"])
def test_serving_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'export'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"


def test_training_loads_no_worker() -> None:
    code = "import sys, export.commands; print('worker' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "False False"
