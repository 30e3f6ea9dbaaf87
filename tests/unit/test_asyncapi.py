"""The AsyncAPI document says what the records and the topics say."""

import json
import time
from typing import Any

import msgspec

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
