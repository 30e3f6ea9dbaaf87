"""The named features that the blend weighs, and which reason each belongs to.

Those of an article alone come first: they are computed once for a batch of readers, less their
mean over all articles on offer. Those of a reader and an article follow; they are computed for
candidates only. Every feature is divided by what it usually deviates by within a choice: where it
says nothing, it stays small. So a weight means the same on every stream.
"""

import numpy as np

HALF_LIVES_H = (1 / 3, 1.0, 6.0, 24.0, 168.0, 672.0, 1e7)
"""Of the click counts, in hours; the last never fades. A ladder instead of a tuned constant: the
weights find which of them carry the stream."""

HALF_LIVES_MS = np.asarray(HALF_LIVES_H) * 3_600_000.0
NEWCOMER_HALF_LIVES_H = (24.0, 672.0)
"""Of the counts of readers' first clicks: what those read of whom nothing is known."""

NEWCOMER_HALF_LIVES_MS = np.asarray(NEWCOMER_HALF_LIVES_H) * 3_600_000.0
FIRST_CLICKS = 5
NUM_HALF_LIVES = len(HALF_LIVES_H)

ARTICLE_FEATURES = (
    *(f"trending-{hours:g}h" for hours in HALF_LIVES_H[:-1]),
    "popular",
    "age",
    "since-last-click",
    "unclicked",
    "click-through",
    "shown",
    *(f"newcomers-{hours:g}h" for hours in NEWCOMER_HALF_LIVES_H),
    "hot-terms",
    "appeal",
    "kind",
)
READER_FEATURES = (
    "next",
    "together-recently",
    "together",
    "item-model",
    "passed-over",
    "new-since-visit",
    "age-habit",
    "popularity-habit",
    "tags",
    "readers-like-you",
    "content",
)
FEATURES = ARTICLE_FEATURES + READER_FEATURES
NUM_FEATURES = len(FEATURES)
NUM_ARTICLE = len(ARTICLE_FEATURES)
NUM_READER = len(READER_FEATURES)

AGE = ARTICLE_FEATURES.index("age")
SINCE_LAST = ARTICLE_FEATURES.index("since-last-click")
UNCLICKED = ARTICLE_FEATURES.index("unclicked")
CLICK_THROUGH = ARTICLE_FEATURES.index("click-through")
SHOWN = CLICK_THROUGH + 1
NEWCOMERS = SHOWN + 1
HOT_TERMS = ARTICLE_FEATURES.index("hot-terms")
APPEAL = ARTICLE_FEATURES.index("appeal")
KIND = ARTICLE_FEATURES.index("kind")
"""1 for every article: its weight is what an article of that age, clicked then, is worth."""

NEXT = FEATURES.index("next")
RECENTLY = FEATURES.index("together-recently")
TOGETHER = FEATURES.index("together")
ITEM_MODEL = FEATURES.index("item-model")
PASSED_OVER = FEATURES.index("passed-over")
NEW_SINCE_VISIT = FEATURES.index("new-since-visit")
AGE_HABIT = FEATURES.index("age-habit")
POPULARITY_HABIT = FEATURES.index("popularity-habit")
TAGS = FEATURES.index("tags")
READERS_LIKE_YOU = FEATURES.index("readers-like-you")
CONTENT = FEATURES.index("content")

SOURCES = {
    "trending": (*tuple(range(AGE)), SINCE_LAST, UNCLICKED, HOT_TERMS, POPULARITY_HABIT),
    "fresh": (AGE, KIND, PASSED_OVER, NEW_SINCE_VISIT, AGE_HABIT),
    "click-through": (CLICK_THROUGH, SHOWN, APPEAL),
    "newcomers": tuple(range(NEWCOMERS, NEWCOMERS + len(NEWCOMER_HALF_LIVES_H))),
    "co-clicked": (NEXT, RECENTLY, TOGETHER, ITEM_MODEL),
    "tags": (TAGS,),
    "readers-like-you": (READERS_LIKE_YOU,),
    "content": (CONTENT,),
}
"""Which features a source brings; a source that is switched off has weights of 0."""

LENGTHS = (1, 5, 20, 100)
"""Bounds of the history lengths with weights of their own: 0, 1-4, 5-19, 20-99, more."""

GAPS_MS = (30 * 60_000, 12 * 3_600_000)
"""Bounds of the time since the reader's last click: within the visit, within the day, longer."""

_MINUTE_MS = 60_000
AGES_MS = tuple(minutes * _MINUTE_MS for minutes in (10, 60, 360, 1440, 10_080, 40_320))
"""Bounds of the time since an article is known, and of the time since its last click: from ten
minutes to four weeks. What speaks for an article that came a minute ago does not for an old one."""

NUM_AGES = len(AGES_MS) + 1
NUM_QUIETS = len(AGES_MS) + 2
"""Kinds by the last click; the last kind has not been clicked."""

NUM_GAPS = len(GAPS_MS) + 1
NUM_READER_KINDS = (len(LENGTHS) + 1) * NUM_GAPS
"""Of readers: `length * NUM_GAPS + gap`."""

LENGTH_ROWS = 1
GAP_ROWS = LENGTH_ROWS + len(LENGTHS) + 1
AGE_ROWS = GAP_ROWS + NUM_GAPS
QUIET_ROWS = AGE_ROWS + NUM_AGES
NUM_WEIGHT_ROWS = QUIET_ROWS + NUM_QUIETS + 1
"""The weights of an article on a page are a sum: common, by the reader's history length, by the
time since the reader's last click; those of the article's own features also by its age and by the
time since its last click. The last row is for impressions: which of what was shown is clicked is
another question than what of everything is."""

NUM_STEPS = 1 + NUM_AGES + NUM_QUIETS
"""Rows of the gradient of a choice: common, by age, by last click; the last two of the articles'
own features alone."""

ROW_NAMES = (
    "common",
    *(f"clicks-from-{bound}" for bound in (0, *LENGTHS)),
    *(f"away-{bound}ms" for bound in (0, *GAPS_MS)),
    *(f"age-{bound}ms" for bound in (0, *AGES_MS)),
    *(f"last-click-{bound}ms" for bound in (0, *AGES_MS)),
    "never-clicked",
    "impressions",
)
