"""Fuzz every topic's decoder, guided by coverage.

    pip install -e '.[fuzz]'
    python -m tests.fuzz.decoder --minutes 10

Begins with the corpus beside this file. What breaks a promise is written to `--findings`, and the
run ends with an error; mend it, and put the input into the corpus. `--keep` adds to the corpus what
covers code that nothing in it did, small as it is. Everything in it is made up, by hand or by
the fuzzer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 4096
"""Longest input. What is slow or deep is so in proportion; 1 MB is tried by `test_corpus`."""


def main() -> int:
    """Run the fuzzer in a process of its own; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--findings", type=Path, default=Path(".frontpage/fuzz"))
    parser.add_argument("--keep", action="store_true", help="add to the corpus what is new")
    options = parser.parse_args()
    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as grown:
        run = [
            f"-max_total_time={round(options.minutes * 60)}",
            f"-max_len={MAX_BYTES}",
            "-timeout=10",
            "-rss_limit_mb=1024",
            f"-artifact_prefix={options.findings}/",
            "-print_final_stats=1",
            grown,
            str(CORPUS),
        ]
        done = _fuzz(run)
        if done == 0 and options.keep:
            from tests.fuzz.keep import keep

            print(f"{keep(Path(grown), CORPUS)} inputs are new in the corpus")  # noqa: T201
    return done


def _fuzz(arguments: list[str]) -> int:
    # libFuzzer ends the process it runs in.
    command = [sys.executable, "-m", "tests.fuzz.decoder"]
    environment = {**os.environ, "FRONTPAGE_FUZZ": "\n".join(arguments)}
    return subprocess.run(command, env=environment).returncode


def fuzz(arguments: list[str]) -> None:
    """Hand the process to libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["schemas", "worker.intake"]):
        from tests.fuzz.targets import check
    from tests.fuzz.mutations import mutated

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            found: bytes = atheris.Mutate(data, max_size)
            return found
        return (data[:2] + mutated(data[2:], seed))[:max_size]

    atheris.Setup([sys.argv[0], *arguments], check, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    given = os.environ.pop("FRONTPAGE_FUZZ", None)
    if given is None:
        sys.exit(main())
    fuzz(given.split("\n"))
