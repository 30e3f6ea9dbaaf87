#!/usr/bin/env python3
"""Look up the locked dependencies in a database of known vulnerabilities; fail on any.

    .ci/audit.py [PIP_AUDIT [ARGUMENT]...]

A database that cannot be reached, or does not know a package, is said clearly and fails nothing:
the gate must also run where there is no way out. PIP_AUDIT: the program, `pip-audit` by default.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
SHOWN = 5


def main(command: list[str]) -> int:
    """Run the audit, say what it found, and return the exit code."""
    options = ["--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    options += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"NOT AUDITED: no answer that could be read: {last[:200]}")
        return 0
    vulnerable = [each for each in found if each.get("vulns")]
    for each in vulnerable:
        for bug in each["vulns"]:
            mended = ", ".join(bug.get("fix_versions") or ()) or "no release"
            print(f"VULNERABLE: {each['name']} {each['version']}: {bug['id']}, mended in {mended}")
    skipped = [each["name"] for each in found if "skip_reason" in each]
    num_audited = len(found) - len(skipped)
    if skipped:
        names = ", ".join(skipped[:SHOWN]) + (", …" if len(skipped) > SHOWN else "")
        print(f"NOT AUDITED: {len(skipped)} of {len(found)} packages, of which nothing is known at")
        print(f"the database that was asked: {names}")
    print(f"audited: {num_audited} of {len(found)} packages, vulnerable: {len(vulnerable)}")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["pip-audit"]))
