"""Dashboard, alert rules and page of docs name what a worker exposes, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from worker.metrics import Metrics

REPOSITORY = Path(__file__).resolve().parents[2]
ALERTS = REPOSITORY / "docs" / "deploy" / "alerts.yml"
DASHBOARD = REPOSITORY / "docs" / "deploy" / "grafana" / "dashboards" / "frontpage.json"
DOCS = REPOSITORY / "docs" / "operations.md"

NAME = re.compile(r"\b(?:frontpage|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    metrics = Metrics()
    metrics.watch(lambda: {("clicks", 0): 1}, lambda: 1, lambda: 1)
    return metrics.names()


def queries(document: Any) -> list[str]:
    """Return every `expr` of a dashboard."""
    if isinstance(document, dict):
        found = [document["expr"]] if "expr" in document else []
        return found + [each for value in document.values() for each in queries(value)]
    if isinstance(document, list):
        return [each for value in document for each in queries(value)]
    return []


def test_the_dashboard_shows_what_there_is(exposed: set[str]) -> None:
    asked = queries(json.loads(DASHBOARD.read_text()))
    assert len(asked) >= 20
    for query in asked:
        names = set(NAME.findall(query))
        assert names, query
        assert names <= exposed, query


def test_alerts_look_at_what_there_is(exposed: set[str]) -> None:
    rules = ALERTS.read_text()
    names = set(NAME.findall(rules))
    assert len(names) >= 8
    assert names <= exposed


def test_every_alert_and_every_metric_is_explained(exposed: set[str]) -> None:
    docs = DOCS.read_text()
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    assert len(alerts) >= 10
    for alert in alerts:
        assert f"`{alert}`" in docs
    explained = set(NAME.findall(docs))
    unknown = {each for each in explained if each not in exposed and not each.endswith("_")}
    assert not unknown
    own = {each for each in exposed if each.startswith("frontpage_")}
    series = {re.sub(r"_(bucket|count|sum)$", "", each) for each in own}
    documented = {re.sub(r"_(bucket|count|sum)$", "", each) for each in explained}
    assert series - documented == set()


def test_the_port_is_the_same_everywhere() -> None:
    port = re.search(r"FRONTPAGE_METRICS_PORT=(\d+)", (REPOSITORY / "Dockerfile").read_text())
    assert port is not None
    assert f"port: {port[1]}\n" in (REPOSITORY / "docs" / "deploy" / "prometheus.yml").read_text()


def test_what_the_compose_file_mounts_is_there() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    mounted = re.findall(r"- \./(docs/deploy/[\w./-]+):", compose)
    assert len(mounted) == 4
    for path in mounted:
        assert (REPOSITORY / path).exists()
