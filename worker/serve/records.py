"""What the API takes and gives beside the records of `schemas`; JSON, one frozen record each."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from schemas.records import (
    MAX_BLOCKED_ARTICLES,
    MAX_BLOCKED_TAGS,
    AgeEstimate,
    GenderEstimate,
    Id,
    IncomeEstimate,
    RecommendedItem,
    Tag,
)
from schemas.timestamps import Timestamp

MAX_SESSION_CLICKS = 256


class ArticleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an article on a page."""

    title: str | None = None
    tags: list[str] | None = None
    published_at: Timestamp | None = None
    language: str | None = None


class PageItem(RecommendedItem, frozen=True, kw_only=True):
    """A recommended article; with `articles=true` also what is to be shown of it."""

    article: ArticleSummary | UnsetType | None = UNSET
    """Null where the article has expired."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's front page, best first, without articles that are withdrawn by now."""

    recommendation_id: str
    user_id: str
    items: list[PageItem]
    model_version: str
    generated_at: datetime


class SessionClick(msgspec.Struct, frozen=True, kw_only=True):
    """An article that was opened in a session."""

    article_id: Id
    timestamp: Timestamp | None = None
    """Without it, in the order of the list, the last one just now."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did who has no name; nothing of it is stored or published."""

    clicks: Annotated[list[SessionClick], msgspec.Meta(max_length=MAX_SESSION_CLICKS)] = []
    blocked_tags: Annotated[list[Tag], msgspec.Meta(max_length=MAX_BLOCKED_TAGS)] = []
    blocked_articles: Annotated[list[Id], msgspec.Meta(max_length=MAX_BLOCKED_ARTICLES)] = []
    profiling: bool = True
    """Whether age, income and gender may be inferred."""


class SessionProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What the model thinks of a session; the fields are those of `Profile`."""

    age: AgeEstimate
    income: IncomeEstimate
    gender: GenderEstimate
    tags: dict[str, float]
    num_clicks: int
    num_known: int


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """The front page of a session, best first."""

    items: list[PageItem]
    profile: SessionProfile | None
    """Null without a click, and of who objects to profiling."""
    model_version: str
    generated_at: datetime


class BadItem(msgspec.Struct, frozen=True, kw_only=True):
    """Why one of the clicks was not taken."""

    index: int
    """Of the click in the request, from 0."""
    reason: str
    """The word that a dead letter would have."""
    detail: str = ""


class ClicksAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of clicks."""

    accepted: int
    """Published, and acknowledged by the brokers."""
    skipped: int
    """Without consent: not published."""
    rejected: int
    errors: list[BadItem]
    """Of the first hundred that were rejected."""


class VisitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A reader opens the front page."""

    timestamp: Timestamp | None = None
    """Now, if not given."""


class VisitAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A visit was published; the page that answers it follows in a moment."""

    timestamp: int
    """Epoch milliseconds."""


class PreferencesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader does not want; it replaces what they did not want before, whole."""

    blocked_tags: Annotated[list[Tag], msgspec.Meta(max_length=MAX_BLOCKED_TAGS)] = []
    """Written as the articles' tags are."""
    blocked_articles: Annotated[list[Id], msgspec.Meta(max_length=MAX_BLOCKED_ARTICLES)] = []
    profiling: bool = True
    """Whether age, income and gender may be inferred."""
    timestamp: Timestamp | None = None
    """When the reader wished so: of several the newest holds. Now, if not given."""


class PreferencesAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Preferences were published; a worker heeds them within seconds."""

    timestamp: int
    """Epoch milliseconds."""


class ErasureAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure was published; a worker does it within seconds."""

    requested_at: int
    """Epoch milliseconds: what the reader did up to then is not used any more."""


class DemoReader(msgspec.Struct, frozen=True, kw_only=True):
    """A reader that a demo may show."""

    user_id: str
    age_years: float
    female: float
    num_clicks: int


class DemoReaders(msgspec.Struct, frozen=True, kw_only=True):
    """Some readers of different ages."""

    readers: list[DemoReader]
    now_ms: int
    """What time it is in the demo's data, epoch milliseconds: clicks there are to be dated from it
    on, or everything else would be old news at once."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 has it; `type` is stable, and nothing in it is about a reader."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[BadItem] = []
