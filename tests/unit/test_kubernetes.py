"""The manifests agree with the settings, the topics, the compose file and the image."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from schemas.topics import Topics
from worker.settings import Settings, read_settings

REPOSITORY = Path(__file__).parents[2]
MANIFESTS = REPOSITORY / "docs" / "deploy" / "kubernetes"


@cache
def manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests by kind; of each kind there is one."""
    found = [
        each
        for name in yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
        for each in yaml.safe_load_all((MANIFESTS / name).read_text())
    ]
    assert len({each["kind"] for each in found}) == len(found)
    return {each["kind"]: each for each in found}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifests()["Deployment"]["spec"]["template"]["spec"]
    return spec


def settings() -> Settings:
    secret = {"FRONTPAGE_HTTP_TOKEN": "what-a-secret-would-hold"}
    return read_settings({**manifests()["ConfigMap"]["data"], **secret})


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return found["services"]


def created_topics(script: str) -> dict[str, str]:
    return dict(re.findall(r"^ *create ([\w-]+)(?: --config (\S+))?$", script, re.MULTILINE))


def test_every_file_is_applied() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in MANIFESTS.iterdir()}


def test_a_worker_starts_with_the_settings_and_has_what_they_name() -> None:
    mounts = {each["mountPath"]: each for each in pod()["containers"][0]["volumeMounts"]}
    assert mounts[str(settings().bundle)]["readOnly"] is True
    assert str(settings().data_dir) in mounts
    # A file system that cannot be written: whatever is written needs a volume.
    assert {each["name"] for each in mounts.values()} == {each["name"] for each in pod()["volumes"]}


def test_the_probes_ask_where_the_worker_answers() -> None:
    container = pod()["containers"][0]
    (port,) = container["ports"]
    assert port["containerPort"] == settings().metrics_port
    asked = {name: each["httpGet"] for name, each in container.items() if name.endswith("Probe")}
    assert {each["port"] for each in asked.values()} == {port["name"]}
    assert {name: each["path"] for name, each in asked.items()} == {
        "startupProbe": "/live",
        "livenessProbe": "/live",
        "readinessProbe": "/ready",
    }


def test_the_scaler_looks_at_the_group_and_the_topic_of_the_workers() -> None:
    scaler = manifests()["ScaledObject"]["spec"]
    trigger = scaler["triggers"][0]["metadata"]
    assert scaler["scaleTargetRef"]["name"] == manifests()["Deployment"]["metadata"]["name"]
    assert trigger["consumerGroup"] == settings().app_id
    assert trigger["topic"] == settings().topics.clicks
    assert trigger["bootstrapServers"] == settings().kafka_bootstrap
    # A replica count of the deployment's own would fight with the scaler's.
    assert "replicas" not in manifests()["Deployment"]["spec"]


def test_there_are_never_more_workers_than_partitions() -> None:
    container = manifests()["Job"]["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert manifests()["ScaledObject"]["spec"]["maxReplicaCount"] == int(env["PARTITIONS"])


def test_the_topics_are_those_of_the_contract_and_of_the_compose_file() -> None:
    script = manifests()["Job"]["spec"]["template"]["spec"]["containers"][0]["args"][0]
    topics = Topics()
    expected = {
        name: "".join(f"{key}={value}" for key, value in topics.config(name).items())
        for name in topics.all()
    }
    assert created_topics(script) == expected
    assert created_topics(compose()["topic-init"]["command"][0]) == expected


def test_the_pod_is_locked_down_as_the_container_of_the_compose_file_is() -> None:
    worker = compose()["worker"]
    assert f"{pod()['terminationGracePeriodSeconds']}s" == worker["stop_grace_period"]
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f"USER {pod()['securityContext']['runAsUser']}:" in dockerfile
    for container in (*pod()["initContainers"], *pod()["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is worker["read_only"]
        assert security["capabilities"] == {"drop": worker["cap_drop"]}
        assert security["allowPrivilegeEscalation"] is False
    assert {each["name"] for each in pod()["volumes"] if "emptyDir" not in each} == set()


def test_the_selectors_find_the_pods() -> None:
    deployment = manifests()["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
