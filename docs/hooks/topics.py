"""The page of the topics and their messages, from the records."""

import json
import re

import msgspec

from docs.hooks.described import cell, field_docs, field_types
from schemas import records
from schemas.messages import MESSAGES, Message
from schemas.topics import Topics
from schemas.trace_headers import TRACE_HEADERS

PARTS = (
    records.AgeEstimate,
    records.IncomeEstimate,
    records.GenderEstimate,
    records.RecommendedItem,
    records.Reason,
    records.ServedItem,
)
"""Records inside of others."""


def topics_page() -> str:
    """Return the page."""
    lines = [
        "# Topics and messages",
        "",
        "JSON in UTF-8. Times are RFC 3339 with an offset or epoch milliseconds. Unknown fields "
        "are ignored, new fields have defaults, types never change. Generated from the records; "
        "the same as [AsyncAPI](asyncapi.json), and a JSON Schema for each below.",
    ]
    for message in MESSAGES:
        lines += _message(message)
    lines += ["", "## Parts of messages"]
    for part in PARTS:
        lines += ["", f"### {part.__name__}", "", *_described(part)]
    return "\n".join(lines) + "\n"


def _message(message: Message) -> list[str]:
    compacted = Topics().config(message.topic).get("cleanup.policy") == "compact"
    way = "read" if message.direction == "in" else "written"
    record = message.record
    file = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record.__name__).lower()
    lines = [
        "",
        f"## {message.topic}",
        "",
        f"{way} by the worker; key: {message.key}{'; compacted' if compacted else ''}; "
        f"[JSON Schema](schemas/{file}.json)",
        "",
        *_described(record),
        "",
    ]
    if message.empty is not None:
        lines += [f"Without a value: {message.empty}", ""]
    if message.is_traced:
        names = ", ".join(f"`{name}`" for name in TRACE_HEADERS)
        lines += [f"Headers, with `FRONTPAGE_TRACE=true`: {names}, where there is a trace.", ""]
    example = json.dumps(message.example, ensure_ascii=False, indent=2)
    return [*lines, "```json", example, "```"]


def _described(record: type[msgspec.Struct]) -> list[str]:
    docs, types = field_docs(record), field_types(record)
    lines = [
        _paragraphs(record.__doc__ or ""),
        "",
        "| field | type | needed | |",
        "|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(record):
        needed = "yes" if field.required else ""
        lines.append(
            f"| `{field.encode_name}` | {cell(types[field.name])} | {needed} "
            f"| {cell(docs.get(field.name, ''))} |"
        )
    return lines


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).replace("<", "&lt;")
