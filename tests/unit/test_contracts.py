"""The contracts that are written down: schema files, keys, imports."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import json_schema, keys
from schemas.topics import Topics

ids = st.text(min_size=1, max_size=20)


def test_the_schema_files_are_current() -> None:
    on_disk = {path.name: path.read_text() for path in json_schema.DIRECTORY.glob("*.json")}
    assert on_disk == json_schema.generate(), "run `python -m schemas.json_schema`"


@given(ids, ids)
def test_two_readers_never_share_a_key(one: str, other: str) -> None:
    assert (keys.profile(one) == keys.profile(other)) == (one == other)


@given(ids)
def test_a_readers_keys_share_a_hash_tag(user_id: str) -> None:
    kinds = (keys.profile, keys.history, keys.recs, keys.showings, keys.preferences)
    names = [kind(user_id) for kind in kinds]
    # Redis Cluster: from the first `{` to the first `}` after it.
    tags = {name[name.index("{") + 1 : name.index("}")] for name in names}
    assert len(tags) == 1 and tags != {""}


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
