"""docs/integrate.md does what it says: its keys, its Python, its JavaScript, its curl."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from schemas import keys
from tests.integration.serving_site import put_article, put_page, put_profile, with_topics
from tests.kafka_broker import TestBroker
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer
from worker.serve.site import build_site, serving
from worker.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "integrate.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RunningServer]:
    with start_redis(tmp_path) as found, redis.Redis(port=found.port) as store:
        put_profile(store, "42")
        put_profile(store, "50%")
        put_page(store, "42", ["a17"])
        put_article(store, "a17")
        yield found


def test_the_keys_of_the_table_are_those_in_redis() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `(profile:[^`]+)` \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 4
    assert [key for _, key in rows] == [keys.profile(user_id) for user_id, _ in rows]
    characters = re.findall(r"^\| `(.)` \| `(%..)` \|$", TEXT, re.MULTILINE)
    assert {keys.tag_of(one): one for one in "%{}"} == {code: one for one, code in characters}


@pytest.mark.parametrize("number", range(2))
def test_python_runs(number: int, redis_server: RunningServer) -> None:
    code = blocks("python")[number].replace("127.0.0.1:6379", f"127.0.0.1:{redis_server.port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = ("title of a17 trending", "1")[number]
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_javascript_names_the_same_keys() -> None:
    (code,) = blocks("js")
    escaping = code[code.index("const escaped") : code.index("export async")]
    ids = ["42", "50%", "{7}", "%7B", "a%}{%25", "读者 /:"]
    script = (
        escaping.replace("export ", "") + f"for (const id of {ids}) console.log(keyOf('recs', id));"
    )
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [keys.recs(each) for each in ids], done.stderr


def test_go_names_the_same_keys() -> None:
    # No Go here: a Replacer's pairs, in order, are what the rule has.
    (code,) = blocks("go")
    pairs = re.findall(r'"(.)", "(%..)"', code)
    assert {one: keys.tag_of(one) for one in "%{}"} == dict(pairs)
    assert 'kind + ":{" + escape.Replace(id) + "}"' in code


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_is_answered(
    kafka: TestBroker, redis_server: RunningServer, tmp_path: Path
) -> None:
    settings = with_topics(
        Settings(
            kafka_bootstrap=kafka.bootstrap_servers,
            redis_url=redis_server.url,
            bundle=tmp_path / "none",
        )
    )
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith("curl ")]
    num_tried = 0
    async with serving(build_site(settings), "127.0.0.1", 0) as running:
        for command in commands:
            if "news.example" in command or " -N " in command or "/v1/recommendations" in command:
                continue  # another host; without an end; needs a bundle
            words = shlex.split(command.replace("http://127.0.0.1:8080", running.address), True)
            process = await asyncio.create_subprocess_exec(
                *words, "--fail", "--silent", stdout=asyncio.subprocess.PIPE
            )
            body, _ = await process.communicate()
            assert process.returncode == 0, command
            assert body.startswith(b"{"), command
            num_tried += 1
    assert num_tried >= 6
