"""Profiles and front pages as text for a terminal."""

import unicodedata
from typing import NamedTuple

from schemas.records import Article, Profile, Recommendation, RecommendedItem
from worker.article_store import ArticleStore
from worker.reader_store import ReaderStore
from worker.redis_client import Client


class FrontPageText(NamedTuple):
    """A recommendation with the articles it names (None: expired)."""

    recommendation: Recommendation
    articles: list[Article | None]


async def load_front_page(client: Client, user_id: str) -> FrontPageText | None:
    """Read a reader's recommendation and its articles; None when there is none."""
    found = await ReaderStore(client, 0, "").recommendation(user_id)
    if found is None:
        return None
    articles = await ArticleStore(client, 0, "").articles([item.article_id for item in found.items])
    return FrontPageText(found, articles)


def profile(found: Profile) -> str:
    """Describe a profile in a few lines."""
    return "\n".join([f"reader {found.user_id}", *profile_lines(found)])


def profile_lines(found: Profile) -> list[str]:
    """Return the lines that describe a profile, without the reader's name."""
    female = found.gender.female
    gender = f"female {female:.0%}" if female >= 0.5 else f"male {1 - female:.0%}"
    income = found.income
    groups = len(income.probabilities)
    interests = ", ".join(f"{tag} {share:.0%}" for tag, share in list(found.tags.items())[:4])
    return [
        f"age     {found.age.years:.0f} ± {found.age.sd:.0f} years",
        f"gender  {gender}",
        f"income  group {income.group + 1} of {groups} ({income.probabilities[income.group]:.0%})",
        f"reads   {interests or '-'}",
        f"clicks  {found.num_clicks} ({found.num_known} known), model {found.model_version}",
    ]


def front_page(found: FrontPageText) -> str:
    """List a front page, an item with its tags and strongest reasons a paragraph."""
    lines = [f"front page of reader {found.recommendation.user_id}"]
    items = zip(found.recommendation.items, found.articles, strict=True)
    for place, (item, article) in enumerate(items, start=1):
        lines.append(f"{place:2}. {title(item, article)}")
        reasons = ", ".join(f"{reason.name} {reason.weight:.2f}" for reason in item.reasons[:3])
        lines.append(f"    [{', '.join(item.tags)}] {item.score:.2f} = {reasons}")
    return "\n".join(lines)


def title(item: RecommendedItem, article: Article | None) -> str:
    """Return what to call an article."""
    return (article and article.title) or item.article_id


def side_by_side(left: list[str], right: list[str], width: int = 58) -> str:
    """Set two columns beside each other; wide (Chinese) characters count as two.

    >>> side_by_side(["a"], ["b"], width=3)
    'a    b'
    """
    height = max(len(left), len(right))
    left = [fit(line, width) for line in left] + [" " * width] * (height - len(left))
    right = [fit(line, width).rstrip() for line in right] + [""] * (height - len(right))
    return "\n".join(f"{a}  {b}".rstrip() for a, b in zip(left, right, strict=True))


def fit(line: str, width: int) -> str:
    """Cut or pad a line to a width in terminal columns.

    >>> fit("新闻abc", 5)
    '新闻…'
    """
    columns = 0
    for at, character in enumerate(line):
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns + wide > width or (columns + wide == width and at < len(line) - 1):
            return line[:at] + "…" + " " * (width - columns - 1)
        columns += wide
    return line + " " * (width - columns)
