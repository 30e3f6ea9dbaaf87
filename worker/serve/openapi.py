"""The OpenAPI document, generated from the table of routes and the records."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.records import MAX_ID_BYTES
from schemas.trace_headers import TRACE_HEADERS
from worker.serve.problems import CONTENT_TYPE, Kind
from worker.serve.records import Problem
from worker.serve.responses import JSON
from worker.serve.routes import ALWAYS, ARTICLE_ID, USER_ID, Route

_PARAMETER = re.compile(r"\{(\w+)\}")
_MEANINGS = {USER_ID: "The reader's id", ARTICLE_ID: "The article's id"}
_COME_AGAIN = ("429", "503")
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds until it is worth asking again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_REF = "#/components/schemas/{name}"

DESCRIPTION = """\
Profiles and front pages from Redis; clicks, visits, preferences and erasures into Kafka.

Profiles are estimates from reading behaviour: treat them as such, and as personal data. An id in
a path is percent-encoded. Errors are `application/problem+json` with a `type` that does not
change. Where a token is set, all of `/v1/` needs `Authorization: Bearer`. A client that asks faster
than the server is set to allow gets 429.
"""


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the document of some routes."""
    table = list(routes)
    types = [Problem]
    for route in table:
        types += [each for each in (route.answer, route.body) if each is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in table:
        operation = _operation(route, schema_of)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "frontpage",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # Either: none is needed where the server listens on its own machine alone.
        "security": [{}, {"token": []}],
    }


def _operation(route: Route, schema_of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": route.summary}
    schema = {"type": "string"} if route.answer is None else schema_of[id(route.answer)]
    success["content"] = {route.media_type: {"schema": schema}}
    responses: dict[str, Any] = {str(route.status): success}
    if route.conditional:
        success["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses["304"] = {"description": "The client has it already"}
    problem = {CONTENT_TYPE: {"schema": schema_of[id(Problem)]}}
    for status, meanings in _problems(route).items():
        responses[status] = {"description": meanings, "content": problem}
        if status in _COME_AGAIN:
            responses[status]["headers"] = _RETRY_AFTER
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": route.description,
        "parameters": _parameters(route),
        "responses": responses,
    }
    if route.body is not None:
        content = {JSON: {"schema": schema_of[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _problems(route: Route) -> dict[str, str]:
    """Return what may go wrong by status, each with the types it may have."""
    found: dict[str, list[Kind]] = {}
    for kind in dict.fromkeys((*route.problems, *ALWAYS)):
        found.setdefault(str(kind.status), []).append(kind)
    return {
        status: "; ".join(f"{kind.value[1]} (`{kind.type}`)" for kind in kinds)
        for status, kinds in sorted(found.items())
    }


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"{_MEANINGS[name]}, percent-encoded.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES},
        }
        for name in _PARAMETER.findall(route.path)
    ]
    if route.articles:
        found.append(
            {
                "name": "articles",
                "in": "query",
                "description": "Whether each item has the title, tags and time of its article.",
                "schema": {"type": "boolean", "default": False},
            }
        )
    header = {"in": "header", "schema": {"type": "string"}}
    if route.is_traced:
        found += [_trace_parameter(*each) for each in TRACE_HEADERS.items()]
    if route.conditional:
        found.append({"name": "If-None-Match", **header})
    if route.answer is None:
        found.append({"name": "Last-Event-ID", **header})
    return found


def _trace_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a header of a trace context, which goes on in the messages that are published."""
    kept = {key: value for key, value in schema.items() if key != "description"}
    description = f"{schema['description']} With `FRONTPAGE_TRACE=true` it goes on, unchanged."
    return {"name": name, "in": "header", "description": description, "schema": kept}
