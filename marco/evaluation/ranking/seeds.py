"""How runs vary with their seed, found from all settings of a sweep: few seeds each, many together.

Two or three seeds of one setting say little on how they vary; those of all settings together say
enough, if they vary alike (the residual of a one-way analysis of variance). A setting that varies
more, a learning rate at which some runs diverge, is not counted for the others, and has its own
variance: such are found as laboratories are whose repetitions scatter (ISO 5725-2, 7.3.3), each the
widest of those left, by its ratio to the rest of them (F, Bonferroni, at one per cent).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marco.evaluation.compare.significance import Spread

#: From which p-value down a setting's variance is another one than the others'.
LEVEL = 0.01


def spreads(values: Sequence[Sequence[float]]) -> list[Spread] | None:
    """Return each setting's variance between seeds; None where none has several.

    Settings that are taken to vary alike are given one and the same object, and so is one that has
    a single run.

    Args:
        values: of each setting, one of each run.
    """
    own = {
        index: Spread(float(np.var(of, ddof=1)), len(of) - 1)
        for index, of in enumerate(values)
        if len(of) > 1
    }
    if not own:
        return None
    together = sorted(own, key=lambda index: own[index].variance)
    while len(together) > 1 and _is_wider(own[together[-1]], [own[i] for i in together[:-1]]):
        together.pop()
    pooled = _pooled([own[index] for index in together])
    return [
        own[index] if index in own and index not in together else pooled
        for index in range(len(values))
    ]


def _pooled(of: Sequence[Spread]) -> Spread:
    freedom = sum(each.freedom for each in of)
    return Spread(sum(each.variance * each.freedom for each in of) / freedom, freedom)


def _is_wider(widest: Spread, others: Sequence[Spread]) -> bool:
    from scipy.stats import f

    rest = _pooled(others)
    if rest.variance == 0:
        return widest.variance > 0
    tail = f.sf(widest.variance / rest.variance, widest.freedom, rest.freedom)
    return float(tail) * (len(others) + 1) <= LEVEL
