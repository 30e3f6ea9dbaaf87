"""Titles and bodies: sentences filled from a topic's own vocabulary, in several languages."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from export.newsroom.tastes import TOPICS

LANGUAGES = ("en", "de", "zh")
DRAWS_PER_ARTICLE = 18  # numbers in [0, 1) that `compose` takes


class Words(msgspec.Struct, frozen=True):
    """What is said about one topic in one language."""

    who: list[str]
    does: list[str]
    what: list[str]
    facts: list[str]


class Frame(msgspec.Struct, frozen=True):
    """The sentences that every topic's words are set into."""

    titles: list[str]
    leads: list[str]
    turns: list[str]
    bridges: list[str]
    ends: list[str]
    where: list[str]
    when: list[str]


class Vocabulary(msgspec.Struct, frozen=True):
    """One language's words by topic."""

    frame: Frame
    topics: dict[str, Words]


@dataclass(frozen=True)
class Text:
    """A written article."""

    title: str
    body: str


@cache
def vocabulary(language: str) -> Vocabulary:
    """Read the vocabulary of a language.

    Raises:
        ValueError: where the newsroom does not write in it.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no vocabulary for {language!r}; there is {', '.join(LANGUAGES)}")
    file = resources.files(__package__) / "vocabulary" / f"{language}.toml"
    words = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Vocabulary)
    assert set(words.topics) == set(TOPICS)
    return words


def compose(language: str, tags: tuple[str, ...], draws: list[float]) -> Text:
    """Write an article about `tags` (main topic first) from `DRAWS_PER_ARTICLE` numbers.

    >>> text = compose("en", ("food",), [0.0] * DRAWS_PER_ARTICLE)
    >>> text.title
    'A village baker bakes bread with ancient grain'
    """
    frame, topics = vocabulary(language).frame, vocabulary(language).topics
    words = topics[tags[0]]
    rest = iter(draws)

    def choose(options: list[str]) -> str:
        return options[int(next(rest) * len(options))]

    slots = {
        "who": choose(words.who),
        "does": choose(words.does),
        "what": choose(words.what),
        "where": choose(frame.where),
        "when": choose(frame.when),
    }
    title = choose(frame.titles).format(**slots)
    first = int(next(rest) * len(words.facts))
    second = (first + 1 + int(next(rest) * (len(words.facts) - 1))) % len(words.facts)
    patterns = [choose(frame.leads), words.facts[first], choose(frame.turns), words.facts[second]]
    sentences = [pattern.format(**slots, n=_number(next(rest))) for pattern in patterns]
    for tag in tags[1:2]:  # a third tag stays a label: the text is about the main topic
        sentences.append(choose(frame.bridges).format(what=choose(topics[tag].what)))
    sentences.append(choose(frame.ends).format(n=_number(next(rest))))
    gap = "" if language == "zh" else " "
    return Text(_capital(title), gap.join(_capital(sentence) for sentence in sentences))


def _number(draw: float) -> int:
    return 3 + int(draw * 86)


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
