"""Generate the AsyncAPI document of the topics, `asyncapi.json`: `python -m schemas.asyncapi`.

Source: AsyncAPI specification 3.0.0, and its Kafka bindings 0.5.0.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from schemas.messages import MESSAGES, Message
from schemas.records import DeadLetter
from schemas.topics import Topics
from schemas.trace_headers import TRACE_HEADERS

PATH = Path(__file__).parent / "asyncapi.json"

VERSION = "1.1.0"
"""Of the contract: it grows with each new field; what there is never changes its type."""

_BINDING = "0.5.0"
_TRACE_CONTEXT = "TraceContext"


def generate() -> str:
    """Return the document as JSON."""
    values = [each.record for each in MESSAGES if each.record is not DeadLetter]
    _, schemas = msgspec.json.schema_components(values, ref_template="#/components/schemas/{name}")
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "frontpage",
            "version": VERSION,
            "description": "From clicks and articles to reader profiles and front pages. JSON in "
            "UTF-8. Unknown fields are ignored, new fields have defaults, types never change.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {each.topic: _channel(each) for each in MESSAGES},
        "operations": dict(_operation(each) for each in MESSAGES),
        "components": {
            "messages": dict(pair for each in MESSAGES for pair in _messages(each)),
            "schemas": {**schemas, _TRACE_CONTEXT: _trace_schema()},
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _channel(message: Message) -> dict[str, Any]:
    topics = Topics()
    binding: dict[str, Any] = {"topic": message.topic, "bindingVersion": _BINDING}
    if policy := topics.config(message.topic).get("cleanup.policy"):
        binding["topicConfiguration"] = {"cleanup.policy": [policy]}
    return {
        "address": message.topic,
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name, _ in _messages(message)
        },
        "bindings": {"kafka": binding},
    }


def _operation(message: Message) -> tuple[str, dict[str, Any]]:
    action = "receive" if message.direction == "in" else "send"
    return f"{action}-{message.topic}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{message.topic}"},
        "summary": (message.record.__doc__ or "").partition("\n")[0],
    }


def _messages(message: Message) -> list[tuple[str, dict[str, Any]]]:
    """Return the messages of a topic by name; without a value, too, where that means something."""
    name = message.record.__name__
    key = {"kafka": {"key": {"type": "string"}, "bindingVersion": _BINDING}}
    if message.record is DeadLetter:
        described: dict[str, Any] = {
            "contentType": "application/octet-stream",
            "payload": {"description": "The value as it was received, or its beginning."},
            "headers": _header_schema(),
            "examples": [{"headers": _header_values(message.example), "payload": "{not JSON"}],
        }
    else:
        described = {
            "payload": {"$ref": f"#/components/schemas/{name}"},
            "examples": [{"payload": message.example}],
        }
    trace = {"headers": {"$ref": f"#/components/schemas/{_TRACE_CONTEXT}"}}
    if message.is_traced:
        described |= trace
    found = [(name, {"summary": f"Key: {message.key}.", **described, "bindings": key})]
    if message.empty is not None:
        none = {"summary": message.empty, "payload": {"type": "null"}, "bindings": key}
        if message.is_traced and message.direction == "in":  # tombstones that go out have none
            none |= trace
        found.append((f"No{name}", none))
    return found


def _trace_schema() -> dict[str, Any]:
    """Return the headers of a trace context: all of them may be missing."""
    description = "Heeded and sent with FRONTPAGE_TRACE=true; a malformed one is ignored."
    return {"type": "object", "description": description, "properties": TRACE_HEADERS}


def _header_schema() -> dict[str, Any]:
    """Return the headers of a dead letter: all of them are text."""
    fields = msgspec.structs.fields(DeadLetter)
    return {
        "type": "object",
        "properties": {field.encode_name: {"type": "string"} for field in fields},
        "required": [field.encode_name for field in fields if field.required],
    }


def _header_values(example: dict[str, Any]) -> dict[str, str]:
    return {name: value.decode() for name, value in DeadLetter(**example).headers()}


if __name__ == "__main__":
    PATH.write_text(generate(), encoding="utf-8")
