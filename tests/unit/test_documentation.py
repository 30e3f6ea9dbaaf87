"""What README and docs name exists, and the site is built from them."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from docs.hooks.capacity import ASSUMED, MEASURED, cell_of, wall
from docs.hooks.commands import all_commands, commands_page
from docs.hooks.settings import settings_page
from docs.hooks.topics import topics_page
from schemas.records import WIRE_RECORDS
from schemas.topics import Topics
from tests.commands_in_text import commands, options
from worker.settings import FOREIGN, PREFIX, Settings

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

COMMANDS = dict(all_commands())
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}

BENCH_OPTIONS = re.findall(
    r'"(--[a-z-]+)"', (REPOSITORY / "tests/benchmarks/stream/options.py").read_text()
)
KAFKA_OPTIONS = (
    *("--alter", "--entity-type", "--entity-name", "--add-config"),
    *("--topic", "--reset-offsets", "--to-earliest"),
)
OTHERS_OPTIONS = {*BENCH_OPTIONS, *KAFKA_OPTIONS, "--minutes", "--long", "--no-deps"}
OTHERS_VARIABLES = {"PARTITIONS", "KAFKA_CLUSTER_ID"}  # of docker-compose.yml


def options_of(command: click.Command) -> set[str]:
    found = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return found | {"--help", "--version"}


def named(words: list[str]) -> list[str]:
    """Return the commands that such words may mean; none for prose such as `frontpage …`."""
    if not words or not re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return []
    if words[0] in GROUPS:
        if len(words) > 1 and f"{words[0]} {words[1]}" in COMMANDS:
            return [f"{words[0]} {words[1]}"]
        return [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    return [words[0]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    text = page.read_text()
    everywhere = set().union(*map(options_of, COMMANDS.values())) | OTHERS_OPTIONS
    for words in commands(text):
        for name in named(words):
            assert name in COMMANDS, f"frontpage {name}"
        known = set().union(*(options_of(COMMANDS[name]) for name in named(words)))
        told = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert not known or told <= known, f"frontpage {' '.join(words)}"
    for line in text.splitlines():
        assert options(line) <= everywhere, line
        if line.startswith("| `frontpage "):
            # A row of a table of commands: the options in it are theirs.
            firsts = {words[0] for words in commands(line) if words}
            theirs = [COMMANDS[name] for name in COMMANDS if name.split()[0] in firsts]
            assert options(line) <= set().union(*map(options_of, theirs)), line


def test_the_readme_names_every_command() -> None:
    text = (REPOSITORY / "README.md").read_text()
    found = {name.split()[0] for words in commands(text) for name in named(words)}
    assert found == {name.split()[0] for name in COMMANDS}


def test_every_variable_and_make_target_exists() -> None:
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    settings = {name.upper() for name in (*Settings.__struct_fields__, *FOREIGN)}
    manifests = [*REPOSITORY.glob("docs/deploy/**/*.yaml"), REPOSITORY / "docker-compose.yml"]
    for page in [*PAGES, *manifests]:
        text = page.read_text()
        for variable in re.findall(rf"\b{PREFIX}([A-Z_]*[A-Z])\b", text):
            assert variable in settings | OTHERS_VARIABLES, f"{page}: {variable}"
        for target in re.findall(r"`make (\w+)", text):
            assert target in targets, f"{page}: make {target}"


def test_generated_pages_hold_everything() -> None:
    settings, topics, listed = settings_page(), topics_page(), commands_page()
    for name in Settings.__struct_fields__:
        assert f"`{PREFIX}{name.upper()}`" in settings
    assert "Consumer group: workers with the same id share the partitions." in settings
    for topic in Topics().all():
        assert f"\n## {topic}\n" in topics
    for record in WIRE_RECORDS:
        for field in record.__struct_encode_fields__:
            assert f"| `{field}` |" in topics
    for name, command in COMMANDS.items():
        assert f"\n## frontpage {name}\n" in listed
        for option in options_of(command) - {"--help", "--version"}:
            assert option in listed


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    built = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"index.html", "tutorial/index.html", "reference/settings/index.html"} <= built
    assert {"reference/asyncapi.json", "reference/schemas/click.json"} <= built
    assert not [path for path in built if path.endswith(".py")]
    plan = (tmp_path / "how-to" / "plan" / "index.html").read_text()
    assert "not possible" in plan and "capacity tables" not in plan


def test_the_page_of_the_plan_rests_on_the_measured_table() -> None:
    """What is called measured is in docs/benchmarks.md as it is here."""
    measured = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    for text in ("134 µs", "| count | 5.60 |", "1.21", "| 16.1 |", "5,160", "614", "| 2 | 107.0 |"):
        assert text in measured, text
    assert "3.9 kB in Redis, a profile 0.6" in measured
    values = [figure.value for figure in MEASURED.values()]
    assert values == [134, 5.6, 1.21, 1.075, 16.1, 5160, 3900, 600, 614]


def test_a_cell_has_workers_for_its_clicks_up_to_the_wall() -> None:
    own = (134 - 5.6) * 1.21 * 1.075
    for rate in (10_000, 25_000, 50_000, 100_000):
        found = cell_of(rate)
        assert found is not None
        for workers, enough in ((found.workers, True), (found.workers - 1, False)):
            busy = (rate / workers * own + rate * 5.6) / 1e6  # of one worker's core
            assert (busy <= ASSUMED["busy"].value) == enough
        assert found.num_cells * rate >= 1_000_000
    assert cell_of(wall() * 1.01) is None
