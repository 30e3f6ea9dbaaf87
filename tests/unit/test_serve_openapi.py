"""The OpenAPI document: valid, complete, and about nothing that is not there."""

from pathlib import Path

import msgspec
import pytest
from openapi_spec_validator import validate

from worker.local.server import free_port
from worker.serve.openapi import document
from worker.serve.problems import Kind
from worker.serve.routes import DEMO_ROUTES, ROUTES
from worker.serve.site import build_site
from worker.settings import Settings
from worker.tracing import TRACEPARENT, TRACESTATE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(bundle=tmp_path / "none", kafka_bootstrap=f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("demo", [False, True])
def test_the_document_is_valid_and_names_what_the_router_serves(
    settings: Settings, demo: bool
) -> None:
    routes = (*ROUTES, *DEMO_ROUTES) if demo else ROUTES
    found = msgspec.json.decode(msgspec.json.encode(document(routes, "1.0")))
    validate(found)
    documented = {
        (method.upper(), path) for path, methods in found["paths"].items() for method in methods
    }
    served = {
        (route.method, route.resource.canonical)
        for route in build_site(settings, demo=demo).app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert documented == {each for each in served if each[1].startswith("/v1/")}
    others = {path for method, path in served - documented if method == "GET"}
    assert others == {"/", "/openapi.json", "/live", "/ready", "/{name}"}


def test_trace_headers_are_described_where_they_are_heeded() -> None:
    found = document(ROUTES, "1.0")
    with_headers = {
        operation["operationId"]: {
            each["name"] for each in operation["parameters"] if each["in"] == "header"
        }
        for methods in found["paths"].values()
        for operation in methods.values()
    }
    trace = {TRACEPARENT, TRACESTATE}
    traced = {name for name, headers in with_headers.items() if headers & trace}
    assert traced == {"publishClicks", "publishVisit", "putPreferences"}
    assert all(with_headers[name] == trace for name in traced)


def test_every_record_and_every_problem_is_described() -> None:
    found = document((*ROUTES, *DEMO_ROUTES), "1.0")
    names = set(found["components"]["schemas"])
    assert {"Profile", "Page", "PageItem", "Article", "Click", "Session", "Problem"} <= names
    text = msgspec.json.encode(found["paths"]).decode()
    for kind in set(Kind) - {Kind.METHOD_NOT_ALLOWED}:  # of no operation there is
        assert f"`{kind.type}`" in text
    operations = [
        operation for methods in found["paths"].values() for operation in methods.values()
    ]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"] and operation["description"]
        assert {"400", "401", "403", "429", "500", "503"} <= set(operation["responses"])
        for status in ("429", "503"):
            assert "Retry-After" in operation["responses"][status]["headers"]
