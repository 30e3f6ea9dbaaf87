"""`frontpage serve` of the compose file: its settings, its token, and who reaches it."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.errors import SettingsError
from worker.http_access import check_access
from worker.settings import Settings, read_settings

REPOSITORY = Path(__file__).parents[2]
TOKEN = "what-somebody-sets"


@cache
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return found["services"]


def environment(name: str, token: str) -> dict[str, str]:
    """Return a service's variables as Compose gives them, with nothing set but the token."""
    found = {}
    for variable, value in services()[name]["environment"].items():
        text = str(value)
        if text.startswith("${"):
            text = text[2:-1].partition(":-")[2]
        found[variable] = text
    assert found["FRONTPAGE_HTTP_TOKEN"] == ""  # none that everybody knows
    return {**found, "FRONTPAGE_HTTP_TOKEN": token}


def settings(token: str) -> Settings:
    return read_settings(environment("serve", token))


def test_the_server_listens_where_its_port_is_published_and_its_health_asked() -> None:
    found = settings(TOKEN)
    check_access("HTTP_HOST", found.http_host, found.http_token)
    (published,) = services()["serve"]["ports"]
    assert published == f"127.0.0.1:{found.http_port}:{found.http_port}"
    # Not the health check of the image, which asks a worker.
    asked = services()["serve"]["healthcheck"]["test"]
    assert asked == ["CMD", "python", "-m", "worker.health", "serve"]


def test_the_server_is_a_worker_in_all_but_what_it_does() -> None:
    server, worker = services()["serve"], services()["worker"]
    for name in ("build", "image", "read_only", "cap_drop", "security_opt", "volumes", "tmpfs"):
        assert server[name] == worker[name]
    assert server["command"] == ["serve"]
    theirs = environment("worker", TOKEN)
    for variable in ("KAFKA_BOOTSTRAP", "REDIS_URL", "BUNDLE", "DATA_DIR"):
        name = f"FRONTPAGE_{variable}"
        assert environment("serve", TOKEN)[name] == theirs[name]


@pytest.mark.parametrize(("token", "is_enough"), [("", False), ("x" * 15, False), (TOKEN, True)])
def test_without_a_token_nothing_is_served_and_it_is_said_why(token: str, is_enough: bool) -> None:
    gate = services()["http-token"]
    assert services()["serve"]["depends_on"]["http-token"] == {
        "condition": "service_completed_successfully"
    }
    assert gate["profiles"] == services()["serve"]["profiles"]
    # Compose makes one dollar of two.
    (script,) = (each.replace("$$", "$") for each in gate["command"])
    done = subprocess.run(
        [*gate["entrypoint"], script],
        env=environment("http-token", token),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode == 0) is is_enough
    assert ("FRONTPAGE_HTTP_TOKEN: needed, 16 characters or more" in done.stderr) is not is_enough
    if not is_enough:  # and where the gate is passed by, the server says so
        with pytest.raises(SettingsError, match="HTTP_TOKEN"):
            check_access("HTTP_HOST", settings(token).http_host, settings(token).http_token)


def test_the_rest_of_the_stack_asks_for_no_token() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text()
    settings_of_the_file = [line for line in text.splitlines() if not line.strip().startswith("#")]
    assert not [line for line in settings_of_the_file if ":?" in line]
    optional = {name for name, each in services().items() if "profiles" in each}
    for name in services().keys() - optional:
        assert not optional & set(services()[name].get("depends_on", {}))


def test_secrets_go_where_compose_can_copy_them() -> None:
    whole = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    from_variables = {name for name, each in whole["secrets"].items() if "environment" in each}
    holders = [
        each for each in services().values() if from_variables & set(each.get("secrets", []))
    ]
    assert holders
    assert not any(each.get("read_only", False) for each in holders)
