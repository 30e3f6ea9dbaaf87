"""What is installed and loaded: locked, audited, never run for being read; a tight container."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
SOURCES = [path for part in ("worker", "export", "schemas") for path in (ROOT / part).rglob("*.py")]


def locked() -> dict[str, list[str]]:
    """Return the versions of each package; Python versions may have one each."""
    found: dict[str, list[str]] = {}
    for line in LOCK.splitlines():
        if line[:1] not in (" ", "#"):
            name, _, version = line.split()[0].partition("==")
            found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_the_lock_is_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = locked()
    for text in project["dependencies"]:
        wanted = Requirement(text)
        for version in found[canonicalize_name(wanted.name)]:
            assert wanted.specifier.contains(version), f"{wanted}: {version}; run `make lock`"
    assert "torch" not in found  # serving needs none


def test_every_locked_file_has_a_checksum_and_no_address() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    begins = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert len(begins) == sum(map(len, locked().values())) > 30
    assert all("--hash=sha256:" in lines[number + 1] for number in begins)
    assert "://" not in LOCK


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Return the calls in a file, by what stands before the parenthesis."""
    tree = ast.parse(path.read_text())
    return [(ast.unparse(each.func), each) for each in ast.walk(tree) if isinstance(each, ast.Call)]


def test_nothing_is_run_for_being_loaded() -> None:
    """Beside ruff's rules (`S`): what loads arrays and weights says that it takes nothing else."""
    needed = {"np.load": "allow_pickle=False", "np.save": "allow_pickle=False"}
    needed["torch.load"] = "weights_only=True"
    num_found = 0
    for path in SOURCES:
        for name, call in calls(path):
            if name in needed:
                num_found += 1
                said = {ast.unparse(keyword) for keyword in call.keywords}
                assert needed[name] in said, f"{path.name}:{call.lineno}"
            assert name.partition(".")[0] not in ("pickle", "marshal", "shelve", "joblib", "dill")
            assert name not in ("eval", "exec", "yaml.load", "torch.jit.load")
    assert num_found >= 5


def audit(tmp_path: Path, answer: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the audit with a program in place of pip-audit that gives an answer."""
    program = tmp_path / "pip_audit.py"
    program.write_text(f"import sys\nprint({answer!r})\nprint('no way out', file=sys.stderr)\n")
    with program.open("a") as file:
        file.write(f"sys.exit({code})\n")
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), sys.executable, str(program)]
    return subprocess.run(command, capture_output=True, text=True)


FINE = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "3", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}]}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([FINE], 0, ["audited: 1 of 1 packages, vulnerable: 0"]),
        ([FINE, UNKNOWN], 0, ["NOT AUDITED: 1 of 2 packages", "audited: 1 of 2"]),
        ([BAD, UNKNOWN], 1, ["VULNERABLE: c 3: PYSEC-1, mended in 3.1", "vulnerable: 1"]),
        (None, 0, ["NOT AUDITED: no answer that could be read: no way out"]),
    ],
)
def test_only_a_vulnerability_fails_the_audit(
    tmp_path: Path, found: list[object] | None, code: int, said: list[str]
) -> None:
    answer = "Traceback" if found is None else json.dumps({"dependencies": found, "fixes": []})
    done = audit(tmp_path, answer, 1 if code or found is None else 0)
    assert done.returncode == code
    for text in said:
        assert text in done.stdout


def test_the_container_runs_with_as_little_as_it_can() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    served = dockerfile.rpartition("FROM ")[2]
    assert "\nUSER 10001:10001\n" in served
    assert served.index("USER ") > served.rindex("RUN ")  # nothing is installed as that user
    assert "--require-hashes -r requirements.lock" in dockerfile
    services = (ROOT / "docker-compose.yml").read_text().split("\n\nvolumes:")[0].split("\n  ")
    compose = "\n".join(services)
    for name in ("redis", "worker", "serve", "http-token"):
        service = compose.partition(f"\n{name}:\n")[2].partition("\n\n")[0]
        for setting in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"):
            assert setting in service, f"{name}: {setting}"
    published = re.findall(r'^ *- "(\S+:\d+)"$', compose, re.MULTILINE)
    assert len(published) == compose.count("ports:") >= 2
    assert all(each.startswith("127.0.0.1:") for each in published)
