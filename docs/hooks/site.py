"""The hook that mkdocs loads: adds the generated pages and files to those that are written.

`python -m mkdocs build --strict` from the root of the repository, or `make docs`.
"""

from typing import Any

from mkdocs.structure.files import File, Files

from docs.hooks.capacity import tables
from docs.hooks.commands import commands_page
from docs.hooks.settings import settings_page
from docs.hooks.topics import topics_page
from schemas import asyncapi, json_schema

CAPACITY = "<!-- capacity tables -->"


def on_files(files: Files, config: Any) -> Files:
    """Add what is generated."""
    pages = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/topics.md": topics_page(),
        "reference/asyncapi.json": asyncapi.generate(),
        **{f"reference/schemas/{name}": text for name, text in json_schema.generate().items()},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables of the capacity plan where its page says."""
    return markdown.replace(CAPACITY, tables()) if CAPACITY in markdown else markdown
