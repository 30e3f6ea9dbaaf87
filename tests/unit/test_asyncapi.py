"""The AsyncAPI document says what the records and the topics say."""

import json
import re
import time
from typing import Any

import msgspec
import pytest

from schemas import asyncapi
from schemas.decode import (
    decode_article,
    decode_click,
    decode_erasure,
    decode_impression,
    decode_preferences,
    decode_reader_label,
    decode_visit,
)
from schemas.messages import MESSAGES
from schemas.records import WIRE_RECORDS
from schemas.topics import Topics
from worker.tracing import TRACEPARENT, TRACESTATE, context_of, headers_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asyncapi.PATH.read_text(encoding="utf-8"))
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for each in node for ref in references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [ref for each in node.values() for ref in references(each)]


def test_the_file_is_current() -> None:
    text = asyncapi.PATH.read_text(encoding="utf-8")
    assert text == asyncapi.generate(), "run `python -m schemas.asyncapi`"


def test_it_holds_every_topic_with_its_cleanup_and_every_record() -> None:
    topics, channels = Topics(), document()["channels"]
    assert channels.keys() == set(topics.all())
    for topic, channel in channels.items():
        policy = channel["bindings"]["kafka"].get("topicConfiguration", {}).get("cleanup.policy")
        assert policy == (["compact"] if topics.config(topic) else None)
        assert channel["address"] == topic and channel["messages"]
    assert {each.record for each in MESSAGES} == set(WIRE_RECORDS)


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    found = references(whole)
    assert len(found) > 30
    for ref in found:
        node = whole
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        assert isinstance(node, dict)


def test_each_topic_has_one_operation_in_the_workers_direction() -> None:
    operations = document()["operations"]
    ways = {each["channel"]["$ref"]: each["action"] for each in operations.values()}
    assert len(operations) == len(MESSAGES)
    for message in MESSAGES:
        expected = "receive" if message.direction == "in" else "send"
        assert ways[f"#/channels/{message.topic}"] == expected


def test_the_messages_that_carry_a_trace_say_so() -> None:
    whole = document()
    messages = whole["components"]["messages"]
    ref = {"$ref": "#/components/schemas/TraceContext"}
    traced = {name for name, each in messages.items() if each.get("headers") == ref}
    assert traced == {
        *("Click", "Visit", "Preferences", "NoPreferences"),
        *("Profile", "Recommendation", "ServedFeatures"),
    }
    context = whole["components"]["schemas"]["TraceContext"]
    assert set(context["properties"]) == {TRACEPARENT, TRACESTATE}
    assert "required" not in context


@pytest.mark.parametrize(
    "parent",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"0-{TRACE}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        "",
    ],
)
def test_a_trace_parent_is_described_as_it_is_read(parent: str) -> None:
    pattern = document()["components"]["schemas"]["TraceContext"]["properties"][TRACEPARENT]
    is_read = context_of([(TRACEPARENT, parent.encode())]) is not None
    assert (re.search(pattern["pattern"], parent) is not None) is is_read


def test_examples_of_headers_are_read() -> None:
    properties = document()["components"]["schemas"]["TraceContext"]["properties"]
    headers = [(name, each["examples"][0].encode()) for name, each in properties.items()]
    found = context_of(headers)
    assert found is not None and headers_of(found) == headers


def test_examples_are_messages_that_a_worker_takes() -> None:
    now_ms = int(time.time() * 1000) + 10**12
    decoders = {
        "articles": decode_article,
        "clicks": decode_click,
        "visits": decode_visit,
        "impressions": decode_impression,
        "preferences": decode_preferences,
        "erasures": decode_erasure,
        "reader-labels": lambda raw, _: decode_reader_label(b"42", raw),
    }
    for message in MESSAGES:
        raw = msgspec.json.encode(message.example)
        if message.direction == "in":
            assert type(decoders[message.topic](raw, now_ms)) is message.record
        # Every field of the example is one of the record's: a mistake in spelling is none of them.
        record = msgspec.json.decode(raw, type=message.record)
        assert message.example.keys() <= set(record.__struct_encode_fields__)
