"""Which column of a file is which field: as told, or guessed by well-known names."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.errors import ReadingSetError

Given = Mapping[str, Sequence[str]]
"""Columns by field, as told; none of a field that is to stay empty."""


class Field(NamedTuple):
    """A field, and the names its column often has, in snake case, best first."""

    names: tuple[str, ...]
    required: bool = False


_ARTICLE_IDS = (
    "article_id", "news_id", "item_id", "content_id", "document_id", "doc_id", "story_id",
)  # fmt: skip
_USER_IDS = (
    "user_id", "reader_id", "person_id", "visitor_id", "customer_id", "userid", "uid", "user",
    "reader",
)  # fmt: skip

TABLES: dict[str, dict[str, Field]] = {
    "articles": {
        "article_id": Field((*_ARTICLE_IDS, "id", "article"), required=True),
        "title": Field(("title", "headline", "name")),
        "body": Field(
            ("body", "text", "content", "full_text", "article_text", "abstract", "description",
             "summary", "lead")
        ),
        "tags": Field(("tags", "keywords", "topics", "categories", "category", "section", "topic")),
        "published_at": Field(
            ("published_at", "published", "publish_time", "published_time", "publication_date",
             "publish_date", "pub_date", "created_at", "timestamp", "date")
        ),
        "language": Field(("language", "lang")),
    },
    "clicks": {
        "user_id": Field(_USER_IDS, required=True),
        "article_id": Field((*_ARTICLE_IDS, "article", "item"), required=True),
        "timestamp": Field(
            ("timestamp", "time", "clicked_at", "click_time", "event_time", "ts", "datetime",
             "created_at", "date"),
            required=True,
        ),
        "event_id": Field(("event_id", "click_id", "id")),
        "consent": Field(("consent",)),
    },
    "impressions": {
        # Never a mere "id": that is one of the row, and each row would be an impression.
        "impression_id": Field(
            ("impression_id", "impr_id", "imp_id", "request_id", "page_view_id", "pageview_id",
             "slate_id", "recommendation_id")
        ),
        "user_id": Field(_USER_IDS, required=True),
        "timestamp": Field(
            ("timestamp", "time", "shown_at", "impression_time", "displayed_at", "served_at",
             "event_time", "ts", "datetime", "created_at", "date"),
            required=True,
        ),
        "article_id": Field((*_ARTICLE_IDS, "article", "item"), required=True),
        "clicked": Field(("clicked", "is_clicked", "was_clicked", "is_click", "click", "label")),
        "position": Field(("position", "pos", "rank", "slot")),
        "consent": Field(("consent",)),
    },
    "users": {
        "user_id": Field((*_USER_IDS, "id"), required=True),
        "age": Field(("age", "age_years")),
        "gender": Field(("gender", "sex")),
        "income_group": Field(("income_group", "income")),
        "split": Field(("split",)),
    },
}  # fmt: skip


class Columns(NamedTuple):
    """The columns of a file by field, which of them were guessed, and those of no field."""

    of: dict[str, tuple[str, ...]]
    guessed: frozenset[str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        known = ", ".join(
            f"{field} = {' + '.join(names)}{' (guessed)' if field in self.guessed else ''}"
            for field, names in self.of.items()
        )
        return f"{known}; not used: {', '.join(self.unused)}" if self.unused else known


def choose(table: str, file: str, columns: Sequence[str], given: Given) -> Columns:
    """Find the columns of a file of `table`.

    A column whose name is the field's is not called guessed.

    >>> str(choose("clicks", "c.csv", ["personId", "article_id", "ts", "x"], {}))
    'user_id = personId (guessed), article_id = article_id, timestamp = ts (guessed); not used: x'

    Raises:
        ReadingSetError: when a column is missing, or a field that is needed has none.
    """
    fields = TABLES[table]
    by_name = {_snake(column): column for column in reversed(columns)}
    found: dict[str, tuple[str, ...]] = {}
    guessed = set()
    for field, (names, required) in fields.items():
        if field in given:
            told = tuple(given[field])
            if missing := [name for name in told if name not in columns]:
                raise ReadingSetError(f"{file}: no column {missing[0]!r} for {table}.{field}")
        else:
            told = tuple(by_name[name] for name in names if name in by_name)[:1]
            if told and told[0] != field:
                guessed.add(field)
        if told:
            found[field] = told
        elif required:
            raise ReadingSetError(
                f"{file}: which column is the {field}? --column {table}.{field}=NAME "
                f"(there are: {', '.join(columns)[:200]})"
            )
    used = {name for names in found.values() for name in names}
    return Columns(found, frozenset(guessed), tuple(name for name in columns if name not in used))


def check_given(table: str, given: Given) -> None:
    """Refuse fields that a table does not have, and several columns for one that takes one.

    Raises:
        ReadingSetError: names the field.
    """
    for field, names in given.items():
        if field not in TABLES[table]:
            known = ", ".join(TABLES[table])
            raise ReadingSetError(f"{table}.{field}: no such field; there are: {known}")
        if len(names) > 1 and field != "tags":
            raise ReadingSetError(f"{table}.{field}: one column only")


def _snake(name: str) -> str:
    """Return a column's name in snake case, so that `personId` and `Person ID` are one."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
