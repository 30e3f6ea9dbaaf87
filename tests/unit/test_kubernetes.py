"""The manifests agree with the settings, the topics, the compose file and the image."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.topics import Topics
from worker.settings import Settings, read_settings

REPOSITORY = Path(__file__).parents[2]
MANIFESTS = REPOSITORY / "docs" / "deploy" / "kubernetes"


WORKER, SERVE = "frontpage-worker", "frontpage-serve"
COMPOSE_NAMES = {WORKER: "worker", SERVE: "serve"}


@cache
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the manifests by kind and name."""
    found = [
        each
        for name in yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
        for each in yaml.safe_load_all((MANIFESTS / name).read_text())
    ]
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(by_name) == len(found)
    return by_name


def deployment(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests()["Deployment", name]["spec"]
    return spec


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(name)["template"]["spec"]
    return spec


def scaler() -> dict[str, Any]:
    spec: dict[str, Any] = manifests()["ScaledObject", WORKER]["spec"]
    return spec


def topics_container() -> dict[str, Any]:
    job = manifests()["Job", "frontpage-topics"]["spec"]["template"]["spec"]
    found: dict[str, Any] = job["containers"][0]
    return found


def settings() -> Settings:
    secret = {"FRONTPAGE_HTTP_TOKEN": "what-a-secret-would-hold"}
    return read_settings({**manifests()["ConfigMap", "frontpage-settings"]["data"], **secret})


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return found["services"]


def created_topics(script: str) -> dict[str, str]:
    return dict(re.findall(r"^ *create ([\w-]+)(?: --config (\S+))?$", script, re.MULTILINE))


def test_every_file_is_applied() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in MANIFESTS.iterdir()}


@pytest.mark.parametrize("name", [WORKER, SERVE])
def test_a_pod_starts_with_the_settings_and_has_what_they_name(name: str) -> None:
    (container,) = pod(name)["containers"]
    assert {"configMapRef": {"name": "frontpage-settings"}} in container["envFrom"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert mounts[str(settings().bundle)]["readOnly"] is True
    assert str(settings().data_dir) in mounts
    # A file system that cannot be written: whatever is written needs a volume.
    written = {each["name"] for each in mounts.values()}
    assert written == {each["name"] for each in pod(name)["volumes"]}


@pytest.mark.parametrize("name", [WORKER, SERVE])
def test_the_probes_ask_where_the_pod_answers(name: str) -> None:
    (container,) = pod(name)["containers"]
    (port,) = container["ports"]
    listening = {WORKER: settings().metrics_port, SERVE: settings().http_port}
    assert port["containerPort"] == listening[name]
    asked = {name: each["httpGet"] for name, each in container.items() if name.endswith("Probe")}
    assert {each["port"] for each in asked.values()} == {port["name"]}
    assert {name: each["path"] for name, each in asked.items()} == {
        "startupProbe": "/live",
        "livenessProbe": "/live",
        "readinessProbe": "/ready",
    }


def test_the_scaler_looks_at_the_group_and_the_topic_of_the_workers() -> None:
    trigger = scaler()["triggers"][0]["metadata"]
    assert ("Deployment", scaler()["scaleTargetRef"]["name"]) in manifests()
    assert trigger["consumerGroup"] == settings().app_id
    assert trigger["topic"] == settings().topics.clicks
    assert trigger["bootstrapServers"] == settings().kafka_bootstrap
    # A replica count of the deployment's own would fight with the scaler's.
    assert "replicas" not in deployment(scaler()["scaleTargetRef"]["name"])


def test_there_are_never_more_workers_than_partitions() -> None:
    env = {each["name"]: each.get("value") for each in topics_container()["env"]}
    assert scaler()["maxReplicaCount"] == int(env["PARTITIONS"])


def test_the_topics_are_those_of_the_contract_and_of_the_compose_file() -> None:
    script = topics_container()["args"][0]
    topics = Topics()
    expected = {
        name: "".join(f"{key}={value}" for key, value in topics.config(name).items())
        for name in topics.all()
    }
    assert created_topics(script) == expected
    assert created_topics(compose()["topic-init"]["command"][0]) == expected


@pytest.mark.parametrize("name", [WORKER, SERVE])
def test_the_pod_is_locked_down_as_the_container_of_the_compose_file_is(name: str) -> None:
    service, found = compose()[COMPOSE_NAMES[name]], pod(name)
    assert f"{found['terminationGracePeriodSeconds']}s" == service["stop_grace_period"]
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f"USER {found['securityContext']['runAsUser']}:" in dockerfile
    for container in (*found["initContainers"], *found["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is service["read_only"]
        assert security["capabilities"] == {"drop": service["cap_drop"]}
        assert security["allowPrivilegeEscalation"] is False
    assert {each["name"] for each in found["volumes"] if "emptyDir" not in each} == set()


@pytest.mark.parametrize("name", [WORKER, SERVE])
def test_the_selectors_find_the_pods(name: str) -> None:
    labels = deployment(name)["template"]["metadata"]["labels"]
    assert deployment(name)["selector"]["matchLabels"] == labels
    budget = manifests()["PodDisruptionBudget", name]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert labels not in [
        deployment(other)["template"]["metadata"]["labels"] for other in {WORKER, SERVE} - {name}
    ]


def test_the_service_leads_to_the_servers_of_which_one_may_go() -> None:
    service = manifests()["Service", SERVE]["spec"]
    assert service["selector"] == deployment(SERVE)["template"]["metadata"]["labels"]
    (port,), (listening,) = service["ports"], pod(SERVE)["containers"][0]["ports"]
    assert port["targetPort"] == listening["name"]
    assert service.get("type", "ClusterIP") == "ClusterIP"
    most_away = manifests()["PodDisruptionBudget", SERVE]["spec"]["maxUnavailable"]
    assert deployment(SERVE)["replicas"] > most_away


def test_workers_and_servers_have_one_model_and_tokens_of_their_own() -> None:
    images = [[each["image"] for each in pod(name)["initContainers"]] for name in (WORKER, SERVE)]
    assert images[0] == images[1]
    secrets = {
        name: [
            each["secretRef"]["name"]
            for each in pod(name)["containers"][0]["envFrom"]
            if "secretRef" in each
        ]
        for name in (WORKER, SERVE)
    }
    assert secrets == {
        WORKER: ["frontpage-secrets"],
        SERVE: ["frontpage-secrets", "frontpage-serve"],  # the last counts
    }
    assert "FRONTPAGE_HTTP_TOKEN" not in manifests()["ConfigMap", "frontpage-settings"]["data"]
