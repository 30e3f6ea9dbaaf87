"""What all readers do, as one worker holds it: numbered articles and the counts about them.

The same click log gives the same counts and weights in every worker, whatever the order in which it
came to know the articles. The exception is what is counted by tags and terms, for as long as a
worker does not know the article: half a second at most for a new one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import LearnedBlend
from worker.recommend.checkpoint import Counted, pack, snapshot, unpack
from worker.recommend.features import AGE_ROWS, GAP_ROWS, LENGTH_ROWS, NUM_WEIGHT_ROWS
from worker.recommend.item_model import ToFit, fit_item_model, to_fit
from worker.recommend.learn import apply_gradient, count_clicks, count_shown, free_slot
from worker.recommend.log_reader import CountedClicks
from worker.recommend.log_reader import unpack as unpack_log
from worker.recommend.numbering import Numbering
from worker.recommend.options import Blend
from worker.recommend.starting import scale_of, starting_blend
from worker.recommend.state import (
    NEVER_MS,
    BlendState,
    CoClicks,
    Items,
    Terms,
    empty_co_clicks,
    empty_items,
    empty_terms,
)
from worker.recommend.subjects import heat_clicks, learn_appeal
from worker.recommend.tag_counts import TagCounts

MAX_ITEMS = 200_000
"""Articles counted; beyond, the quarter whose last click is longest ago is forgotten."""

SHOWN_RATE = 0.02
"""Of the learning rate: a choice among the few that were shown says less than one among all."""

REFIT_GROWTH = 1.25
FIRST_FIT = 2000


class Facts(Protocol):
    """What is to be known of articles to count clicks on them; of an unknown one, nothing.

    refs: (C,) int64 article references.
    """

    def tags_of(self, refs: NDArray[np.int64]) -> list[Sequence[str]]:
        """Return the tags of each."""
        ...

    def terms_of(self, refs: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the terms of each, (C, MAX_TERMS)."""
        ...


class Statistics:
    """Shared statistics; see `state` for the arrays.

    slots: how many articles have co-click counts with each other; memory is 12 bytes × slots².
    options: of the blend; the defaults without any. learned: what the blend begins with.
    """

    def __init__(
        self,
        slots: int = 2048,
        options: Blend | None = None,
        max_items: int = MAX_ITEMS,
        learned: LearnedBlend | None = None,
    ) -> None:
        self.items: Items = empty_items(1024)
        self.co: CoClicks = empty_co_clicks(slots)
        self.terms: Terms = empty_terms()
        options = options or Blend()
        self._usual = options.weights
        self._start = partial(starting_blend, options.weights, learned)
        self.blend: BlendState = self._start()
        self.scale = scale_of(self.blend)
        """Factors of the features, (F,)."""
        self._tags = TagCounts()
        self.num_counted = 0
        self.num_changes = 0
        """Grows with every change of a count or a weight."""
        self.num_renumbered = 0
        """Grows when articles get other numbers."""
        self._numbers = Numbering()
        self._learning_rate = 0.0 if options.frozen else options.learning_rate
        self._bound = options.bound
        self._max_items = max_items
        self._next_fit = FIRST_FIT

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each article reference, new ones for new articles."""
        found = self._numbers.number(refs)
        while len(self) > len(self.items.slot):
            grown = empty_items(2 * len(self.items.slot))
            for name in Items._fields:
                held: NDArray[np.generic] = getattr(self.items, name)
                getattr(grown, name)[: len(held)] = held
            self.items = grown
        return found

    @property
    def tag_counts(self) -> dict[str, NDArray[np.float64]]:
        """By tag: clicks by each segment of readers, and of all, (segments + 1,)."""
        return self._tags.by_tag()

    @property
    def newest_ms(self) -> int:
        """The latest click that was counted, epoch milliseconds; 0 before the first."""
        return max(0, int(self.items.last_ms[: len(self)].max(initial=NEVER_MS)))

    @property
    def is_full(self) -> bool:
        """Whether more clicked articles are counted than there should be."""
        if len(self) <= self._max_items:
            return False
        clicked = np.count_nonzero(self.items.last_ms[: len(self)] != NEVER_MS)
        return bool(clicked > self._max_items)

    def forget_oldest(self, keep: NDArray[np.int64]) -> None:
        """Forget the articles that were clicked longest ago, a quarter of the limit.

        The same ones in every worker. keep: references of articles that keep a number all the
        same, as articles that nobody has clicked.
        """
        refs = self._numbers.refs
        last_ms = self.items.last_ms[: len(self)]
        clicked = np.flatnonzero(last_ms != NEVER_MS)
        order = clicked[np.lexsort((refs[clicked], -last_ms[clicked]))]
        kept = np.sort(order[: self._max_items * 3 // 4])
        items = empty_items(max(1024, len(kept)))
        for name in Items._fields:
            getattr(items, name)[: len(kept)] = getattr(self.items, name)[kept]
        for slot in np.flatnonzero(self.co.item >= 0).tolist():
            at = int(np.searchsorted(kept, self.co.item[slot]))
            if at < len(kept) and kept[at] == self.co.item[slot]:
                self.co.item[slot] = at
            else:
                free_slot(self.co, slot)
        self.items = items
        self._numbers = Numbering(refs[kept])
        self.number(keep)
        self.num_renumbered += 1

    def reset(self) -> None:
        """Forget everything, as a new worker knows nothing."""
        self.items = empty_items(1024)
        self.co = empty_co_clicks(len(self.co.item))
        self.terms = empty_terms()
        self.blend = self._start()
        self.scale = scale_of(self.blend)
        self._tags = TagCounts()
        self.num_counted, self._next_fit = 0, FIRST_FIT
        self._numbers = Numbering()
        self.num_renumbered += 1
        self.num_changes += 1

    def begin_with(self, learned: LearnedBlend | None) -> None:
        """Begin with another blend: at the next reset; at once where nothing has been learned."""
        self._start = partial(starting_blend, self._usual, learned)
        if not self._learning_rate or not self.num_counted:
            self.blend = self._start()
            self.scale = scale_of(self.blend)
            self.num_changes += 1

    def apply(self, entry: bytes, facts: Facts) -> None:
        """Count an entry of the click log, and learn from it."""
        # All of it is read before any of it counts.
        told = unpack_log(entry)
        self.count(told.clicks, facts)
        for taught in told.lessons:
            self.learn(*taught.learned, taught.length, taught.gap)
        for each in told.impressions:
            if len(each.refs):
                if each.gradient is not None:
                    self.learn_shown(each.gradient)
                terms = facts.terms_of(each.refs)
                self.count_impression(self.number(each.refs), each.clicked, terms)

    def count(self, clicks: CountedClicks, facts: Facts) -> None:
        """Count what readers clicked, in the order given."""
        at = clicks.counted
        if not len(at):
            return
        self.num_changes += 1
        numbers = self.number(clicks.refs)
        count_clicks(self.items, self.co, numbers, clicks.times_ms, clicks.ends, at)
        refs = clicks.refs[at]
        terms = facts.terms_of(refs)
        heat_clicks(self.terms, terms, clicks.times_ms[at], self.num_counted)
        self.num_counted += len(at)
        self._tags.add(facts.tags_of(refs), clicks.readers, clicks.memberships, clicks.num_segments)

    def learn(self, gradient: NDArray[Any], spread: NDArray[Any], length: int, gap: int) -> None:
        """Move the weights up a gradient, of a kind of reader; see `lessons.learn_click`."""
        for row in (0, LENGTH_ROWS + length, GAP_ROWS + gap):
            self._move(gradient[0], row, self._learning_rate)
        for at in np.flatnonzero(gradient[1:].any(axis=1)).tolist():
            self._move(gradient[1 + at], AGE_ROWS + at, self._learning_rate)
        if self._learning_rate:
            self.blend.scale[0] += spread
            # What could not vary in a choice says nothing of what it usually deviates by.
            self.blend.scale[1] += spread > 0.0
            self.scale = scale_of(self.blend)

    def freeze(self) -> None:
        """Move no weight from now on."""
        self._learning_rate = 0.0

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Take back in the end what is learned meanwhile; nothing else may change meanwhile."""
        kept = BlendState(*(each.copy() for each in self.blend))
        scale, num_changes = self.scale, self.num_changes
        try:
            yield
        finally:
            if self.num_changes != num_changes:
                self.blend, self.scale = kept, scale
                self.num_changes += 1

    def learn_shown(self, gradient: NDArray[Any]) -> None:
        """Move the weights of impressions up a gradient, (F,)."""
        self._move(gradient, NUM_WEIGHT_ROWS - 1, SHOWN_RATE * self._learning_rate)

    def _move(self, gradient: NDArray[Any], row: int, rate: float) -> None:
        self.num_changes += 1
        if rate:
            apply_gradient(
                self.blend.weights,
                self.blend.squares,
                gradient,
                row,
                rate,
                self._bound,
            )

    @property
    def fit_is_due(self) -> bool:
        """Whether the item model is to be fitted again."""
        return self.num_counted >= self._next_fit

    def fit(self) -> None:
        """Fit the item model from the counts as they are."""
        counts = to_fit(self.co)
        self.install(fit_item_model(counts), counts)

    def to_fit(self) -> ToFit:
        """Return what a fit is made from; it may take its time while counting goes on."""
        return to_fit(self.co)

    def install(self, model: NDArray[np.float32], counts: ToFit) -> None:
        """Rank by a newly fitted item model, but for slots that have been given away meanwhile.

        Articles may not have been renumbered since the counts were taken.
        """
        other = counts.item != self.co.item
        model[other] = 0.0
        is_modelled = np.zeros_like(self.co.is_modelled)
        is_modelled[counts.slots] = True
        self.co = self.co._replace(model=model, is_modelled=is_modelled & ~other)
        self._next_fit = int(self.num_counted * REFIT_GROWTH)
        self.num_changes += 1

    def count_impression(
        self, shown: NDArray[np.int64], clicked: NDArray[np.bool_], terms: NDArray[np.int32]
    ) -> None:
        """Count what a reader was shown, and learn what appeals.

        shown: (C,) numbers. clicked: (C,). terms: (C, MAX_TERMS) of the articles.
        """
        self.num_changes += 1
        learn_appeal(self.items, self.terms, terms, shown, clicked)
        count_shown(self.items, shown, clicked)

    def dump(self) -> bytes:
        """Return everything, compressed: some MB for 5,000 articles, more where all co-occur."""
        return pack(self.snapshot())

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of all arrays, for `checkpoint.pack`."""
        return snapshot(
            Counted(
                self._numbers.refs,
                self.items,
                self.co,
                self.terms,
                self.blend,
                self.tag_counts,
                self.num_counted,
                self._next_fit,
            )
        )

    def load(self, dumped: bytes) -> None:
        """Become what was dumped. The item model is fitted again, from the same counts.

        Raises:
            CheckpointError: when the dump is of another version, or broken; nothing changes then.
        """
        found = unpack(dumped, len(self.co.item))
        self.items, self.co, self.terms = found.items, found.co, found.terms
        self._tags = TagCounts(found.tag_counts)
        if self._learning_rate:  # frozen: its own, whatever others have learned
            self.blend = found.blend
            self.scale = scale_of(found.blend)
        self._numbers = Numbering(found.refs)
        self.num_counted, self._next_fit = found.num_counted, found.next_fit
        self.num_renumbered += 1
        self.num_changes += 1
        if self.num_counted >= FIRST_FIT:
            self.fit()
            self._next_fit = found.next_fit
