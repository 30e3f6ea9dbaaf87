"""The headers of W3C Trace Context, as JSON Schema: of messages, and of requests that publish them.

A header that is not so is left out of account, and nothing is refused for it.

Source: https://www.w3.org/TR/trace-context-1/
"""

from typing import Any

MAX_STATE_CHARACTERS = 512
"""Longest `tracestate` that goes on."""

TRACE_HEADERS: dict[str, dict[str, Any]] = {
    "traceparent": {
        "type": "string",
        "description": "The trace and the span that this is a part of (W3C Trace Context).",
        # Version 00 ends here; a later one may go on after a hyphen, ff is none.
        "pattern": "^(?!ff)(?!00.{53}-)[0-9a-f]{2}"
        "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-|$)",
        "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    },
    "tracestate": {
        "type": "string",
        "description": "What tracing systems add to it; only beside a `traceparent`.",
        "maxLength": MAX_STATE_CHARACTERS,
        "examples": ["shop=7"],
    },
}
"""By name."""
