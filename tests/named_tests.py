"""The tests that a text names as evidence, as `tests/unit/test_a.py::test_b`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def is_test(path: str, name: str) -> bool:
    """Tell whether a file, named from the root of the repository, has such a test."""
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {each.name for each in tree.body if isinstance(each, kinds)}
    return name in found and name.startswith("test_")
