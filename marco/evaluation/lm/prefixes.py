"""From questions to rows in which every shared beginning stands once: arithmetic, without torch.

Sorted, questions that begin alike are neighbours: an item's options, the items of a task with the
same few-shot examples. A row is a run of neighbours, so nothing is padded and whatever they share
is run once. A beginning that many rows share is run once as well, in a forward of its own, if it is
long enough to be worth that; a shorter one is repeated in every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: A beginning that several rows share is kept if it is at least this part of a row.
KEPT_SHARE = 8

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Question:
    """What is the log-probability of the last `scored` tokens, given those before them?"""

    tokens: tuple[int, ...]
    scored: int


@dataclass(frozen=True, eq=False)
class Beginning:
    """Tokens that all questions of several rows begin with.

    Attributes:
        tokens: [tokens], after those of `before`.
        length: of all of it, `before` included.
    """

    tokens: Ints
    length: int
    before: Beginning | None

    @property
    def chain(self) -> list[Beginning]:
        """This one and what comes before it, from the first on."""
        return [*(self.before.chain if self.before else []), self]


@dataclass(frozen=True, eq=False)
class Row:
    """The tokens of one forward, in depth-first order, and what is asked of them.

    Attributes:
        tokens: [tokens].
        depths: [tokens]: tokens before each in its question.
        ends: [tokens]: the place in the row after the last token that continues it.
        questions: indices of the questions answered here.
        places: [targets]: the token of the row that predicts each target, question by question.
        targets: [targets].
        counts: [questions]: targets of each.
    """

    before: Beginning | None
    tokens: Ints
    depths: Ints
    ends: Ints
    questions: Sequence[int]
    places: Ints
    targets: Ints
    counts: Ints


def plan(questions: Sequence[Question], asked: Sequence[int], budget: int) -> list[Row]:
    """Lay out questions in rows of at most `budget` tokens; a longer question has its own row.

    Args:
        questions: with a token before the scored ones at least.
        asked: which of them.
        budget: tokens.
    """
    order = sorted(asked, key=lambda index: questions[index].tokens[:-1])
    return list(_Planner(questions, order, budget).rows(0, len(order), None))


class _Planner:
    def __init__(self, questions: Sequence[Question], order: Sequence[int], budget: int) -> None:
        self._questions = questions
        self._order = order
        self._budget = budget
        self._least = max(1, budget // KEPT_SHARE)
        self._inputs = [np.array(questions[i].tokens[:-1], dtype=np.int64) for i in order]
        self._lengths = [len(tokens) for tokens in self._inputs]
        # Where a beginning could end at the latest: scored places are never left out of a row.
        self._first = [len(questions[i].tokens) - 1 - questions[i].scored for i in order]
        self._shared = [0, *map(_shared, self._inputs, self._inputs[1:])]

    def rows(self, low: int, high: int, before: Beginning | None) -> Iterator[Row]:
        """Rows of the questions [low, high) in order, which all begin with `before`."""
        base = before.length if before else 0
        start = at = low
        while at < high:
            end = self._alike(at, high, base + self._least)
            if self._size(at, end, base) > self._budget and end - at > 1:
                yield from self._runs(start, at, before)
                length = min(*self._shared[at + 1 : end], *self._first[at:end])
                tokens = self._inputs[at][base:length]
                yield from self.rows(at, end, Beginning(tokens, length, before))
                start = end
            at = end
        yield from self._runs(start, high, before)

    def _alike(self, at: int, high: int, length: int) -> int:
        """Where the questions end that share `length` tokens, all unscored, with that at `at`."""
        end = at + 1
        if self._first[at] < length:
            return end
        while end < high and self._shared[end] >= length and self._first[end] >= length:
            end += 1
        return end

    def _size(self, low: int, high: int, base: int) -> int:
        more = (self._lengths[i] - max(base, self._shared[i]) for i in range(low + 1, high))
        return self._lengths[low] - base + sum(more)

    def _runs(self, low: int, high: int, before: Beginning | None) -> Iterator[Row]:
        """Full rows; each ends, in its last quarter, where the neighbours share least."""
        base = before.length if before else 0
        while low < high:
            sizes = [self._lengths[low] - base]
            end = low + 1
            while end < high:
                size = sizes[-1] + self._lengths[end] - max(base, self._shared[end])
                if size > self._budget:
                    break
                sizes.append(size)
                end += 1
            if end < high:
                late = [
                    i for i in range(low + 1, end + 1) if 4 * sizes[i - low - 1] >= 3 * sizes[-1]
                ]
                end = min(reversed(late), key=lambda i: self._shared[i])
            yield self._row(low, end, before)
            low = end

    def _row(self, low: int, high: int, before: Beginning | None) -> Row:
        base = before.length if before else 0
        longest = max(self._lengths[low:high])
        path = np.zeros(longest - base, dtype=np.int64)  # depth → place, of the question at hand
        tokens, depths, places, targets = [], [], [], []
        ends = np.zeros(self._size(low, high, base), dtype=np.int64)
        count = last = 0
        for i in range(low, high):
            kept = max(base, self._shared[i]) - base if i > low else 0
            length = self._lengths[i] - base
            ends[path[kept:last]] = count
            path[kept:length] = np.arange(count, count + length - kept)
            count += length - kept
            last = length
            tokens.append(self._inputs[i][base + kept :])
            depths.append(np.arange(base + kept, base + length))
            places.append(path[self._first[i] - base : length].copy())
            targets.append(self._questions[self._order[i]].tokens[self._first[i] + 1 :])
        ends[path[:last]] = count
        return Row(
            before,
            np.concatenate(tokens),
            np.concatenate(depths),
            ends,
            self._order[low:high],
            np.concatenate(places),
            np.concatenate([np.array(some, dtype=np.int64) for some in targets]),
            np.array([len(some) for some in targets]),
        )


def _shared(one: Ints, other: Ints) -> int:
    """How many tokens both begin with."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length
