"""The tastes behind the clicks: how much each topic draws readers by age, gender and income."""

from dataclasses import dataclass

import numpy as np

from export.newsroom.chance import Floats


@dataclass(frozen=True)
class Bump:
    """A taste that is strongest at `peak` and fades to nothing over a few `width`s."""

    peak: float
    width: float
    strength: float

    def at(self, positions: Floats) -> Floats:
        """Give the logit at each of `positions` (n,): (n,) float64."""
        distance = (positions - self.peak) / self.width
        return np.asarray(self.strength * np.exp(-0.5 * distance * distance), dtype=np.float64)


@dataclass(frozen=True)
class Taste:
    """Whom a topic draws; all strengths are logits of a choice between topics.

    `age` is in years, `income` on a scale from 0 (lowest group) to 9 (highest) whatever the
    number of groups; `female` is added for female and taken away for male readers.
    """

    topic: str
    base: float
    age: Bump
    female: float
    income: Bump
    kin: tuple[str, ...]  # topics that its articles also touch on


# Invented for the demo: these are not findings about anybody. The strengths are tuned so that
# the exact posterior (`export.evaluation.optimum`) is confident but not certain after some twenty
# clicks.
TASTES: tuple[Taste, ...] = (
    Taste("economy", 0.0, Bump(45, 15, 0.39), -0.09, Bump(6, 1.8, 0.62), ("markets", "politics")),
    Taste(
        "markets", -0.2, Bump(50, 12, 0.52), -0.25, Bump(8, 1.3, 1.49), ("economy", "technology")
    ),
    Taste("politics", 0.3, Bump(60, 14, 0.65), -0.06, Bump(5, 3.0, 0.19), ("economy", "local")),
    Taste("football", 0.2, Bump(30, 14, 0.39), -0.40, Bump(2, 1.5, 0.74), ("local", "gaming")),
    Taste("tennis", -0.3, Bump(50, 12, 0.33), 0.12, Bump(7, 1.1, 1.36), ("health", "fashion")),
    Taste("technology", 0.0, Bump(31, 7, 0.78), -0.28, Bump(6, 1.5, 0.62), ("science", "careers")),
    Taste("gaming", -0.2, Bump(20, 5, 1.69), -0.31, Bump(2, 2.0, 0.31), ("technology", "music")),
    Taste("science", 0.0, Bump(45, 16, 0.26), 0.00, Bump(5, 1.1, 1.12), ("climate", "health")),
    Taste("health", 0.0, Bump(70, 9, 1.10), 0.22, Bump(4, 2.5, 0.19), ("science", "food")),
    Taste("parenting", -0.2, Bump(36, 5, 1.69), 0.31, Bump(4, 2.0, 0.31), ("health", "housing")),
    Taste("fashion", -0.1, Bump(25, 6, 0.91), 0.46, Bump(4, 1.5, 0.37), ("luxury", "music")),
    Taste("travel", 0.0, Bump(56, 8, 0.78), 0.06, Bump(7, 1.5, 0.74), ("food", "culture")),
    Taste("food", 0.1, Bump(44, 8, 0.59), 0.22, Bump(3, 2.0, 0.25), ("health", "travel")),
    Taste("culture", 0.0, Bump(62, 9, 0.72), 0.19, Bump(6, 1.8, 0.50), ("music", "travel")),
    Taste("music", 0.0, Bump(22, 7, 0.98), 0.03, Bump(1, 2.0, 0.31), ("culture", "fashion")),
    Taste("climate", 0.0, Bump(28, 7, 0.85), 0.09, Bump(5, 2.0, 0.25), ("science", "politics")),
    Taste("local", 0.1, Bump(68, 9, 0.78), 0.00, Bump(1, 1.2, 1.24), ("politics", "food")),
    Taste("housing", -0.1, Bump(34, 6, 0.91), 0.00, Bump(3, 1.1, 1.43), ("economy", "local")),
    Taste("pensions", -0.4, Bump(62, 5, 1.82), 0.00, Bump(2, 1.5, 0.62), ("economy", "politics")),
    Taste("careers", -0.2, Bump(27, 5, 1.17), 0.03, Bump(4, 1.1, 1.36), ("economy", "technology")),
    Taste("luxury", -0.6, Bump(48, 12, 0.33), 0.12, Bump(9, 1.1, 2.23), ("fashion", "travel")),
    Taste("bargains", -0.4, Bump(45, 14, 0.20), 0.15, Bump(0, 1.1, 2.11), ("food", "housing")),
)
TOPICS: tuple[str, ...] = tuple(taste.topic for taste in TASTES)
