"""Every test that a document names as its evidence exists."""

import pytest

from tests.named_tests import NAMED, ROOT, is_test


def section(name: str, heading: str) -> str:
    text = (ROOT / name).read_text()
    assert text.count(f"\n{heading}\n") == 1
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


PROMISES = section("README.md", "## What is promised, and what is not")
THREATS = (ROOT / "docs" / "threat-model.md").read_text()


@pytest.mark.parametrize(("path", "name"), sorted({*NAMED.findall(PROMISES + THREATS)}))
def test_a_named_test_exists(path: str, name: str) -> None:
    assert is_test(path, name)


@pytest.mark.parametrize(
    "text", [PROMISES, THREATS.partition("\n## ")[0]], ids=["README", "threats"]
)
def test_every_line_of_a_table_has_a_test(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    for row in rows:
        assert NAMED.search(row.rpartition("|")[0].rpartition("|")[2]), row[:60]
