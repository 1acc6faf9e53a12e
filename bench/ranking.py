"""How often a ranking tells settings apart from the best: where there is nothing, and where not.

    python -m bench.ranking [--repetitions 500]

Settings are three languages of eight items, which vary most and are the same for all; runs vary by
their seed, in all languages together (standard deviation 0.02 bits per byte), in each (0.01), and
by item (0.05). "false": the share of repetitions of equal settings in which any was told apart,
meant to be 0.05 at most. "found": in which one setting that is better by 0.1 was told apart from
every other one. "alone": the same two if each pair of settings had its own seeds' variance only.
The last line is JSON. Printed with ``--repetitions 250``, at which 0.05 has a standard error of
0.014:

| settings | seeds | false | found | false, alone | found, alone |
|---|---|---|---|---|---|
| 2 | 2 | 0.068 | 0.624 | 0.048 | 0.424 |
| 4 | 2 | 0.044 | 0.364 | 0.044 | 0.016 |
| 8 | 2 | 0.024 | 0.220 | 0.048 | 0.000 |
| 12 | 2 | 0.036 | 0.184 | 0.092 | 0.000 |
| 4 | 3 | 0.056 | 0.820 | 0.032 | 0.204 |
| 8 | 3 | 0.004 | 0.720 | 0.024 | 0.000 |

Of two settings with two seeds each, 1500 repetitions gave 0.058: two degrees of freedom are few.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np

from marco.evaluation.compare.run import Run
from marco.evaluation.items import Item
from marco.evaluation.ranking import rank
from marco.evaluation.ranking.rank import Order, order
from marco.evaluation.ranking.settings import Setting
from marco.evaluation.rows import Row

LANGUAGES = ("eng", "swh", "tha")
ITEMS = 8
CASES = ((2, 2), (4, 2), (8, 2), (12, 2), (4, 3), (8, 3))


def simulated(
    generator: np.random.Generator, effects: Sequence[float], seeds: int
) -> list[list[Run]]:
    """Return the runs of each setting: ``effects`` are added to a setting's bits per byte."""
    hard = generator.normal(2, 0.3, (len(LANGUAGES), ITEMS))

    def run(effect: float) -> Run:
        own = generator.normal(0, 0.01, (len(LANGUAGES), 1)) + generator.normal(0, 0.02)
        values = hard + effect + own + generator.normal(0, 0.05, hard.shape)
        pairs = list(zip(LANGUAGES, values.tolist(), strict=True))
        rows = [Row("t", code, "high", "loss", float(np.mean(v)), ITEMS) for code, v in pairs]
        items = [
            Item("t", code, str(place), {"loss": value}, family="t")
            for code, found in pairs
            for place, value in enumerate(found)
        ]
        return Run("run", rows, items)

    return [[run(effect) for _ in range(seeds)] for effect in effects]


def ranked(settings: Sequence[Sequence[Run]]) -> Order:
    """Return their order; a setting's value is its place before."""
    named = [(Setting([str(place)], [], []), runs) for place, runs in enumerate(settings)]
    return order(named, "t", "loss", LANGUAGES)


def false(found: Order) -> bool:
    """Return whether any setting was told apart from the first."""
    return any(each.difference is not None and each.difference.verdict for each in found.ranked)


def right(found: Order) -> bool:
    """Return whether setting 0 is the first, and all were told apart from it."""
    others = [each.difference for each in found.ranked if each.difference is not None]
    first = found.ranked[0].setting.values == ["0"]
    return first and all(each.verdict == "worse" for each in others)


def share(
    settings: int, seeds: int, gain: float, of: Callable[[Order], bool], repetitions: int
) -> float:
    """Return the share of repetitions of which ``of`` holds; setting 0 is better by ``gain``."""
    generator = np.random.default_rng([settings, seeds])
    effects = [-gain, *[0.0] * (settings - 1)]
    held = [of(ranked(simulated(generator, effects, seeds))) for _ in range(repetitions)]
    return float(np.mean(held))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    repetitions = parser.parse_args().repetitions
    print("| settings | seeds | false | found | false, alone | found, alone |")
    print("|---|---|---|---|---|---|")
    results = []
    for settings, seeds in CASES:
        shares = []
        for pooled in (True, False):
            with patch.object(rank, "spreads", rank.spreads if pooled else lambda _: None):
                shares += [
                    share(settings, seeds, 0.0, false, repetitions),
                    share(settings, seeds, 0.1, right, repetitions),
                ]
        print(
            f"| {settings} | {seeds} | {' | '.join(f'{each:.3f}' for each in shares)} |", flush=True
        )
        results.append([settings, seeds, *shares])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
