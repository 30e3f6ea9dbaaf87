"""Generate the JSON Schema files beside the records: `python -m schemas.json_schema`."""

import json
import re
from pathlib import Path

import msgspec

from schemas.bundle import Manifest, TagAffinity
from schemas.records import WIRE_RECORDS

DIRECTORY = Path(__file__).parent / "json_schema"


def generate() -> dict[str, str]:
    """Return the content of each schema file by name."""
    files = {}
    records: tuple[type[msgspec.Struct], ...] = (*WIRE_RECORDS, Manifest, TagAffinity)
    for record in records:
        schema = msgspec.json.schema(record)
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record.__name__).lower()
        files[f"{name}.json"] = json.dumps(schema, indent=2) + "\n"
    return files


def write(directory: Path = DIRECTORY) -> None:
    """Write every schema file and delete those of records that are gone."""
    directory.mkdir(exist_ok=True)
    files = generate()
    for name, text in files.items():
        (directory / name).write_text(text)
    for path in directory.glob("*.json"):
        if path.name not in files:
            path.unlink()


if __name__ == "__main__":
    write()
