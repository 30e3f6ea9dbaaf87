"""How to recommend: the file that `FRONTPAGE_RECOMMEND_FILE` names, in TOML.

```toml
freshness_ms = 100        # how old what everybody reads "just now" may be; 0: of each batch

[sources]                 # what brings candidates and features; all on unless switched off
content = false

[filters]
max_age_days = 30         # articles published longer ago are not shown
blocked_tags = ["advertorial"]
blocked_articles = []     # hidden or withdrawn
other_languages = false   # whether to show languages the reader does not read
max_shown = 5             # showings in vain after which an article is not offered; 0: no limit
shown_days = 7            # only those of so many days count

[blend]
learning_rate = 0.03
bound = 5.0               # largest weight
frozen = false            # serve, and learn nothing
[blend.weights]           # where an untaught blend begins
trending-1h = 0.2

[selection]
diversity = 0.3           # what an article loses that is just like one above it
max_per_tag = 6           # of one page; 0: no limit
max_per_source = 0
explore_share = 0.05      # of the pages that end with a little-shown article

[market.de]               # overrides for workers started with FRONTPAGE_MARKET=de
filters.max_age_days = 7
```
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from schemas.errors import SettingsError
from worker.recommend.features import FEATURES, SOURCES

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(ge=0.0, le=1000.0)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=100)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Filters(_Strict, frozen=True):
    """What is not shown."""

    max_age_days: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    blocked_tags: frozenset[str] = frozenset()
    blocked_articles: frozenset[str] = frozenset()
    other_languages: bool = False
    max_shown: Limit = 5
    shown_days: Annotated[float, msgspec.Meta(gt=0.0, le=3650.0)] = 7.0


class Blend(_Strict, frozen=True):
    """How the weights begin and learn."""

    learning_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.03
    bound: Annotated[float, msgspec.Meta(gt=0.0, le=100.0)] = 5.0
    frozen: bool = False
    weights: dict[str, float] = {}


class Selection(_Strict, frozen=True):
    """How a page is put together from the best articles."""

    diversity: Positive = 0.3
    max_per_tag: Limit = 6
    max_per_source: Limit = 0
    explore_share: Share = 0.05


class Options(_Strict, frozen=True):
    """Everything the file can say, with its defaults."""

    freshness_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 100

    sources: dict[str, bool] = {}
    filters: Filters = Filters()
    blend: Blend = Blend()
    selection: Selection = Selection()

    @property
    def sources_off(self) -> frozenset[str]:
        """The sources that are switched off."""
        return frozenset(name for name, on in self.sources.items() if not on)


def read_options(path: Path | None, market: str | None = None) -> Options:
    """Read and validate the file; without one, the defaults.

    Raises:
        SettingsError: names what is missing, unknown or out of range.
    """
    if path is None:
        return Options()
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    markets = document.pop("market", {})
    for name, overrides in {None: {}, **markets}.items():
        # Every market is checked, not only this worker's.
        options = _convert(path, _merged(document, overrides), name)
        if name == market:
            chosen = options
    if market is not None and market not in markets:
        raise SettingsError(f"{path}: no [market.{market}]")
    return chosen


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        held = merged.get(name)
        both = isinstance(held, dict) and isinstance(value, dict)
        merged[name] = _merged(held, value) if both and isinstance(held, dict) else value
    return merged


def _convert(path: Path, document: dict[str, Any], market: str | None) -> Options:
    place = f"{path}" if market is None else f"{path}, [market.{market}]"
    try:
        options = msgspec.convert(document, Options)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{place}: {error}") from error
    if unknown := set(options.sources) - set(SOURCES):
        raise SettingsError(f"{place}: no such source: {', '.join(sorted(unknown))}")
    if unknown := set(options.blend.weights) - set(FEATURES):
        raise SettingsError(f"{place}: no such feature: {', '.join(sorted(unknown))}")
    return options
