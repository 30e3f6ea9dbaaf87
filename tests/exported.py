"""A reading set as the files of somebody who has never heard of reading sets."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from schemas.reading_set import ReadingSet
from schemas.timestamps import from_ms, to_ms


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)


def export_csv(dataset: Path, out: Path) -> None:
    """Write articles.csv, clicks.csv and users.csv: all that a newsroom's set holds."""
    reading_set = ReadingSet(dataset)
    out.mkdir(parents=True)
    write_csv(
        out / "articles.csv",
        ["article_id", "headline", "body", "tags", "published_at", "language"],
        (
            (
                each.article_id,
                each.title,
                each.body,
                "|".join(each.tags or ()),
                None if each.published_at is None else from_ms(to_ms(each.published_at)),
                each.language,
            )
            for each in reading_set.articles()
        ),
    )
    write_csv(
        out / "clicks.csv",
        ["event_id", "user_id", "article_id", "timestamp"],
        (
            (each.event_id, each.user_id, each.article_id, to_ms(each.timestamp))
            for each in reading_set.clicks()
        ),
    )
    write_csv(
        out / "users.csv",
        ["user_id", "age", "gender", "income_group", "split"],
        (
            (each.user_id, each.age, each.gender, each.income_group, each.split)
            for each in reading_set.readers()
        ),
    )
