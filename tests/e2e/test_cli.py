"""The console script as a person and a script use it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from schemas.records import Profile, Recommendation
from tests.e2e.installation import installation, wait_until
from tests.kafka_broker import TestBroker
from worker.local.redis_server import start_redis
from worker.local.up import environment


def frontpage(
    *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def descendants(mark: Path) -> list[str]:
    """Return the command lines of running processes that were started under this mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(mark) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_every_command_is_listed() -> None:
    listed = frontpage("--help").stdout
    for command in (
        "worker", "up", "replay", "profile", "recommend", "forget", "export-reader", "snapshot",
        "dead-letters",
        "import", "generate", "train", "evaluate", "compare", "retrain",
    ):  # fmt: skip
        assert f"\n  {command} " in listed


@pytest.mark.parametrize(
    ("arguments", "env", "code", "message"),
    [
        (["nonsense"], {}, 2, "nonsense"),
        (["replay", "/does/not/exist"], {}, 2, "does not exist"),
        (["worker"], {"FRONTPAGE_BATCH_SIZE": "x"}, 1, "FRONTPAGE_BATCH_SIZE"),
        (["worker"], {"FRONTPAGE_BUNDLE": "/does/not/exist"}, 1, "manifest.json"),
        (["profile", "u"], {"FRONTPAGE_REDIS_URL": "redis://127.0.0.1:1"}, 1, "REDIS_URL"),
        (["recommend", "u"], {"FRONTPAGE_REDIS_URL": "nonsense"}, 1, "REDIS_URL"),
        (["evaluate", "/does/not/exist", "/nor/this"], {}, 1, "/does/not/exist"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: list[str], env: dict[str, str], code: int, message: str
) -> None:
    result = frontpage(*arguments, env=env)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if code == 1:
        assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_reader_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        for command in ("profile", "recommend"):
            result = frontpage(command, "u", env={"FRONTPAGE_REDIS_URL": server.url})
            assert (result.returncode, result.stdout) == (1, "")


def test_a_worker_without_its_topics_names_them(
    kafka: TestBroker, bundle: Path, tmp_path: Path
) -> None:
    env = {
        "FRONTPAGE_KAFKA_BOOTSTRAP": kafka.bootstrap_servers,
        "FRONTPAGE_BUNDLE": str(bundle),
        "FRONTPAGE_DATA_DIR": str(tmp_path),
        "FRONTPAGE_TOPIC_CLICKS": "clicks-that-nobody-made",
    }
    if kafka.kind.startswith("embedded"):
        pytest.skip("the embedded broker makes topics when asked for them")
    result = frontpage("worker", env=env)
    assert result.returncode == 1
    assert "no such topic" in result.stderr and "clicks-that-nobody-made" in result.stderr


def test_replay_then_profile_and_recommend(
    kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        env = environment(site.settings)
        site.start_worker()
        replayed = frontpage("replay", str(newsroom), "--json", env=env)
        counts = json.loads(replayed.stdout)
        assert counts["articles"] == 400 and counts["clicks"] > 3000
        assert "clicks" in replayed.stderr  # the progress bar
        wait_until("profiles", lambda: len(site.redis.keys("profile:*")) == 300)
        user = next(iter(site.profiles()))
        as_json = json.loads(frontpage("profile", user, "--json", env=env).stdout)
        assert set(as_json) == set(Profile.__struct_fields__)
        page = json.loads(frontpage("recommend", user, "--json", env=env).stdout)
        assert set(page) == set(Recommendation.__struct_fields__)
        assert "years" in frontpage("profile", user, env=env).stdout
        assert "[" in frontpage("recommend", user, env=env).stdout


def test_up_shows_two_readers_and_leaves_nothing_running(
    bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    arguments = ["--data-dir", str(tmp_path), "--dataset", str(newsroom), "--bundle", str(bundle)]
    result = frontpage("up", "--once", *arguments, env={"MARK": str(tmp_path)}, timeout_s=120.0)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("READER") == 2
    assert "redis-cli" in result.stdout
    assert descendants(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_stays_until_it_is_told_and_then_all_goes(
    bundle: Path, newsroom: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["--data-dir", str(tmp_path), "--dataset", str(newsroom), "--bundle", str(bundle)]
    log = tmp_path / "up.log"
    with log.open("w") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "up", "--stay", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MARK": str(tmp_path)},
            start_new_session=True,
        )
    try:
        wait_until("running", lambda: "Ctrl-C stops" in log.read_text())
        assert len(descendants(tmp_path)) > 3
        watched = re.search(r"top --worker (http://127\.0\.0\.1:\d+)\n", log.read_text())
        assert watched is not None
        with urllib.request.urlopen(f"{watched[1]}/live", timeout=10) as answer:
            assert answer.status == 200
        started = time.monotonic()
        up.send_signal(number)
        code = up.wait(30)
        assert code == (-9 if number == signal.SIGKILL else 0)
        wait_until("nothing left", lambda: not descendants(tmp_path), 20.0)
        assert time.monotonic() - started < 20
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()
