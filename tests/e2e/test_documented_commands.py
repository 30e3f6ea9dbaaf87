"""The commands of README and how-to guides, run as they are written, on a real broker and Redis.

What stands for a name in them is a name here: there is a reader USER, a set SET, a folder SOURCE.
Every command is run, or `ELSEWHERE` says why not and what does. The tutorial's are in a test of
their own.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from schemas.reading_set import ReadingSet
from tests.commands_in_text import blocks, commands, shell_commands
from tests.console_script import write_console_script, write_program
from tests.e2e.installation import Installation, installation, wait_until
from tests.exported import write_csv
from tests.kafka_broker import TestBroker
from tests.named_tests import NAMED, is_test
from tests.tiny_sets import write_easy_set
from worker.cli import frontpage
from worker.local import up
from worker.local.redis_server import redis_cli_path
from worker.local.up import environment

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
GUIDES = sorted((REPOSITORY / "docs" / "how-to").glob("*.md"))
PAGES = [README, *GUIDES]

CONTAINERS = """needs Docker; what it would start is compared with the contract in
tests/integration/test_local_stack.py::test_the_compose_file_creates_the_topics_of_the_contract"""
CLUSTER = """needs a cluster; the manifests are read in
tests/unit/test_kubernetes.py::test_every_file_is_applied"""
APACHE = "Apache Kafka's own program, of which nothing here is ours"
INSTALLED = "what runs this test was installed so, by `make test`: see `make` in the Makefile"
TUTORIAL = "tests/e2e/test_tutorial.py::test_every_command_of_the_tutorial"
STAYS = "tests/e2e/test_cli.py::test_up_stays_until_it_is_told_and_then_all_goes"

ELSEWHERE = {
    "make demo": "tests/e2e/test_cli.py::test_up_shows_two_readers_and_leaves_nothing_running",
    "make test": "is what runs this",
    "pip install .": INSTALLED,
    "pip install '.[train]'": INSTALLED,
    "torchrun ": (
        "tests/integration/test_resume_and_processes.py::test_the_train_command_runs_under_torchrun"
    ),
    "FRONTPAGE_BUNDLE=./bundle docker compose ": CONTAINERS,
    "docker compose up ": CONTAINERS,
    # Asks the server that those containers hold.
    'curl -H "Authorization: Bearer $FRONTPAGE_HTTP_TOKEN" ': (
        "tests/integration/test_serve_reading.py::test_with_a_token_only_who_has_it_reads"
    ),
    "kubectl ": CLUSTER,
    "kafka-consumer-groups.sh ": APACHE,
    # Of the table of commands.
    "frontpage worker": STAYS,
    "frontpage serve": STAYS,
    "frontpage top": "tests/integration/test_top.py"
    "::test_a_frame_of_workers_that_answer_and_of_one_that_does_not",
    "frontpage up": STAYS,
    "frontpage rebuild": "tests/e2e/test_rebuild.py::test_redis_is_rebuilt_from_the_topics",
    "frontpage train DATASET --out BUNDLE": TUTORIAL,
    "frontpage evaluate BUNDLE DATASET": TUTORIAL,
    "frontpage evaluate-stream DATASET": TUTORIAL,
    "frontpage compare ": (
        "tests/integration/test_compare.py::test_a_record_tells_quality_size_and_cost"
    ),
    "frontpage retrain DATASET --bundle B": (
        "tests/integration/test_retrain.py::test_a_model_no_worse_ships_and_the_old_one_is_kept"
    ),
    "frontpage train-blend DATASET --bundle B": (
        "tests/integration/test_train_blend.py::test_the_bundle_keeps_its_model_and_gains_weights"
    ),
}
"""Where a command is run, or why it is not. One that ends with a space is how several begin."""

RETRAIN = "frontpage retrain"
IS_REFUSED = 3
"""Exit code of `retrain`: the running model stays."""


class Newcomer:
    """Somebody with an installation, a shell and some files."""

    def __init__(self, site: Installation, directory: Path) -> None:
        self.site = site
        self.directory = directory
        self._done: set[str] = set()
        path = f"{directory / 'bin'}:{os.environ['PATH']}"
        # A name in the working directory must not be taken for a module.
        python = {"PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
        self._env = {**os.environ, **environment(site.settings), **python, "PATH": path}

    def types(self, command: str) -> str:
        """Run a command in bash; return what it prints."""
        result = subprocess.run(
            ["bash", "-euc", command],
            cwd=self.directory,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        allowed = (0, IS_REFUSED) if RETRAIN in command else (0,)
        assert result.returncode in allowed, f"{command}\n{result.stderr}"
        self._done.add(command)
        return result.stdout

    def types_all(self, found: list[str]) -> dict[str, str]:
        """Run what is run nowhere else; return what it prints, by command."""
        return {
            command: self.types(command)
            for command in found
            # Two pages have the same line of retraining, which takes longest.
            if elsewhere(command) is None and not (RETRAIN in command and command in self._done)
        }


def elsewhere(command: str) -> str | None:
    """Return the entry of a command that is not run here."""
    for entry in ELSEWHERE:
        if command == entry or (entry.endswith(" ") and command.startswith(entry)):
            return entry
    return None


def rows(text: str) -> list[str]:
    """Return the commands in the first cell of each row of a table of commands."""
    cells = re.findall(r"^\| (`frontpage .*?) \|", text, re.MULTILINE)
    return [command for cell in cells for command in re.findall("`(frontpage [^`]+)`", cell)]


def write_files(directory: Path, newsroom: Path, bundle: Path) -> None:
    """Make the files that the pages name."""
    for name in ("SET", "DATASET"):
        (directory / name).symlink_to(newsroom)
    (directory / "export").symlink_to(REPOSITORY / "export")
    shutil.copytree(bundle, directory / "bundle")
    write_easy_set(directory / "set")
    source = directory / "SOURCE"
    source.mkdir()
    # Columns of well-known names, and those of the guide's map.
    write_csv(
        source / "articles.csv",
        ("article_id", "doc", "headline", "tags", "desk", "keywords"),
        [("a1", "d1", "Rates fall", "news", "economy", "banks;rates")],
    )
    write_csv(
        source / "clicks.csv",
        ("user_id", "article_id", "timestamp", "seen"),
        [("u1", "a1", 1_767_600_000_000, "31.01.2026 12:00")],
    )
    write_csv(
        source / "users.csv",
        ("user_id", "age", "gender", "income_group"),
        [("u1", 37, "frau", "high"), ("u2", 40, "herr", "low")],
    )
    mind = directory / "MINDsmall_train"
    mind.mkdir()
    (mind / "news.tsv").write_text("N1\tsports\tcup\tThe final\tClose\n")
    (mind / "behaviors.tsv").write_text("1\tU1\t1/1/2026 1:00:00 PM\t\tN1-1 N2-0\n")


@pytest.fixture(scope="module")
def newcomer(
    kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Newcomer]:
    """Give an installation that has seen the newsroom, and the readers whom the pages name."""
    directory = tmp_path_factory.mktemp("newcomer")
    (directory / "here").mkdir()
    with installation(kafka.bootstrap_servers, bundle, directory) as site:
        found = Newcomer(site, directory / "here")
        write_files(found.directory, newsroom, bundle)
        write_console_script(found.directory / "bin")
        if (cli := redis_cli_path()) is not None:
            url = site.settings.redis_url
            program = f'#!/bin/sh\nexec "{cli}" -u {url} "$@"\n'
            write_program(found.directory / "bin" / "redis-cli", program)
        site.start_worker()
        found.types("frontpage replay DATASET")
        topics, first = site.settings.topics, next(ReadingSet(newsroom).clicks())
        for number, user_id in enumerate(("r00404", "USER")):
            # On a day of which a guide takes the clicks.
            stamp = f"2026-11-0{number + 3}T00:00:00Z"
            extra = {"user_id": user_id, "event_id": f"own-{number}", "timestamp": stamp}
            value = msgspec.json.encode({**msgspec.to_builtins(first), **extra})
            site.produce(topics.clicks, (user_id.encode(), value))
        for reader in ReadingSet(newsroom).readers():
            site.produce(
                topics.reader_labels, (reader.user_id.encode(), msgspec.json.encode(reader))
            )
        wait_until("all have a profile", lambda: len(site.redis.keys("profile:*")) == 302)
        yield found


def test_the_blocks_of_the_readme(newcomer: Newcomer) -> None:
    if redis_cli_path() is None:
        pytest.skip("no redis-cli is installed")
    text = README.read_text()
    printed = newcomer.types_all(shell_commands(text))
    trained, retrained, profile = printed.values()
    assert "best epoch 1 of 1" in trained
    assert "gender" in retrained
    ends = ("bundle.previous", "bundle.candidate")
    assert sum((newcomer.directory / end).is_dir() for end in ends) == 1
    (block,) = [block.text for block in blocks(text) if block.text.startswith("$ redis-cli")]
    as_written = json.loads(block.partition("\n")[2])
    assert fields(json.loads(profile)) == fields(as_written)


def fields(value: dict[str, object]) -> dict[str, set[str]]:
    """Return the names in a profile; not tags, which are the reader's."""
    inner = {name: each for name, each in value.items() if isinstance(each, dict)}
    return {"": set(value)} | {name: set(inner[name]) for name in inner if name != "tags"}


def test_the_commands_of_the_readmes_table(newcomer: Newcomer) -> None:
    printed = {}
    for command in rows(README.read_text()):
        shutil.rmtree(newcomer.directory / "OUT", ignore_errors=True)
        printed |= newcomer.types_all([command])
    assert "years" in printed["frontpage profile USER"]
    assert json.loads(printed["frontpage export-reader USER"])
    assert not newcomer.site.redis.exists("profile:{USER}", "history:{USER}")  # forgotten
    assert "2000 articles" in printed["frontpage generate OUT"]
    assert "labelled readers" in printed["frontpage snapshot OUT"], printed


@pytest.mark.parametrize(
    "page",
    [page for page in GUIDES if not all(map(elsewhere, shell_commands(page.read_text())))],
    ids=lambda page: page.stem,
)
def test_the_blocks_of_a_guide(page: Path, newcomer: Newcomer) -> None:
    text = page.read_text()
    if page.stem == "import":
        (form,) = [block.text for block in blocks(text) if block.language == "toml"]
        (newcomer.directory / "my-map.toml").write_text(form)
    if page.stem == "replay-by-time":
        shutil.rmtree(newcomer.directory / "set")  # by now perhaps all that the topics hold
        write_easy_set(newcomer.directory / "set")
    printed = newcomer.types_all(shell_commands(text))
    if page.stem == "import":
        guessed, mapped, mind = printed.values()
        # Columns, words and times are those of the map; the guesses find the others.
        assert "time without an offset" not in guessed and "frau" not in guessed, guessed
        assert "2026-01-31T11:00:00Z" in mapped, mapped
        assert "1 articles, 1 clicks, 1 impressions" in mind, mind
    if page.stem == "replay-by-time":
        part = ReadingSet(newcomer.directory / "part")
        assert [each.user_id for each in part.clicks()] == ["r00404"]


def test_what_is_not_run_here_is_named_and_needed() -> None:
    named = {
        elsewhere(command)
        for page in PAGES
        for command in (*shell_commands(page.read_text()), *rows(page.read_text()))
    }
    assert named - {None} == set(ELSEWHERE)
    for reason in ELSEWHERE.values():
        for path, name in NAMED.findall(reason):
            assert is_test(path, name), reason


def test_the_demo_generates_trains_and_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By commands that there are; the test that runs it gives it a set and a bundle."""
    made = subprocess.run(
        ["make", "--dry-run", "demo", "test"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ["up", "--once"] in list(commands(f"```sh\n{made.stdout}```\n"))
    assert re.search(r"python -m pytest$", made.stdout, re.MULTILINE)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(up, "_run", lambda *arguments: asked.append(arguments))
    up._trained(tmp_path, up._newsroom(tmp_path))
    assert [each[0] for each in asked] == ["generate", "train"]
    for name, *arguments in asked:
        command = frontpage.get_command(click.Context(frontpage), name)
        assert command is not None
        command.make_context(name, list(arguments))
