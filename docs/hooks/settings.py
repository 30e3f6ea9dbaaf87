"""The page of the settings, from `worker/settings.py`."""

from pathlib import Path

import msgspec

from docs.hooks.described import cell, field_docs, field_types
from worker.settings import PREFIX, Settings


def settings_page() -> str:
    """Return the page."""
    docs, types = field_docs(Settings), field_types(Settings)
    lines = [
        "# Settings",
        "",
        "Environment variables, checked at the start: one that is unknown, malformed or out of "
        "range stops it with a message that names it. Generated from `worker/settings.py`.",
        "",
        "| variable | default | value | |",
        "|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(Settings):
        name = f"`{PREFIX}{field.name.upper()}`"
        lines.append(
            f"| {name} | {_default(field.default)} | {cell(types[field.name])} "
            f"| {cell(docs.get(field.name, ''))} |"
        )
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | Path) else f"{value:g}"
