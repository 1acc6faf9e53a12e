"""Any mix, schedule, caps, packing, numbers of processes and kills: nothing is lost or invented."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from data.sources import counted
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.data.batches import Cut, MixedBatches
from marco.data.ledger import FIELDS
from marco.data.packing import PackingName
from marco.data.stores import Source
from marco.errors import ConfigError
from marco.mixing import Linear, MixSchedule, Natural, Point, Rule, Stage, Stages, Uniform

LENGTH, SEQUENCES, STEPS = 6, 8, 12
BUDGET = LENGTH * SEQUENCES * STEPS
NAMES = ("eng", "swh", "tha")
TEXTS = st.lists(
    st.lists(st.integers(2, 30), min_size=1, max_size=9), min_size=len(NAMES), max_size=len(NAMES)
)
INNER = st.sampled_from([Uniform(), Natural()])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """A constant, a moving or a staged mix; a stage may swap sources and replay another's."""
    endings = (
        {},
        {"sampling": "iid"},
        {"exhausted": "redistribute", "max_epochs": 2.5},
        {"exhausted": "stop", "max_epochs": 4.0},
    )
    end = draw(st.sampled_from(endings))
    kind = draw(st.sampled_from(["constant", "linear", "stages"]))
    if kind == "constant":
        return draw(st.sampled_from([Uniform, Natural]))(**end)
    if kind == "linear":
        points = {"start": Point(0.0, draw(INNER)), "end": Point(0.7, draw(INNER))}
        return Linear(points, **end)
    some = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    stages = {
        "a": Stage(draw(INNER), tokens=draw(st.floats(0.1, 0.9))),
        "b": Stage(draw(INNER), sources=some, replay=draw(st.sampled_from([0.0, 0.3]))),
    }
    return Stages(stages, **end)


def rows(batches: list[list[dict[str, torch.Tensor]]], key: str) -> torch.Tensor:
    """The sequences of several processes in their global order."""
    return torch.cat([micro[key] for micros in zip(*batches, strict=True) for micro in micros])


def served(
    rule: Rule,
    schedule: MixSchedule,
    sources: list[Source],
    pack: PackingName,
    legs: list[tuple[int, int]],
) -> dict[str, torch.Tensor]:
    """What several legs of a run serve: each is killed after its steps, and has its processes."""
    positions: dict[str, list[int]] = {}
    found: dict[str, list[torch.Tensor]] = {}
    for steps, world in legs:
        ranks = [
            list(
                MixedBatches(
                    sources,
                    partial(rule.order, schedule, LENGTH, 3),
                    length=LENGTH,
                    pack=pack,
                    cut=Cut(SEQUENCES, 1, rank, world),
                    seed=3,
                    steps=steps,
                    token_bytes=np.ones(5000, np.int64),
                    positions=positions,
                )
            )
            for rank in range(world)
        ]
        for key in ("input_ids", "labels", "position_ids", "source", "draw", "counts"):
            found.setdefault(key, []).append(rows(ranks, key))  # type: ignore[arg-type]
        last = ranks[0][-1]["positions"].tolist()
        positions = dict(zip(NAMES, last, strict=True))
    return {key: torch.cat(parts) for key, parts in found.items()}


@settings(deadline=None, max_examples=60)
@given(
    texts=TEXTS,
    rule=rules(),
    pack=st.sampled_from(["concat", "best_fit"]),
    kills=st.lists(st.integers(1, STEPS - 1), max_size=3, unique=True),
    worlds=st.lists(st.sampled_from([1, 2, 4, 8]), min_size=4, max_size=4),
)
def test_nothing_is_lost_or_invented(
    texts: list[list[int]], rule: Rule, pack: PackingName, kills: list[int], worlds: list[int]
) -> None:
    sources = [
        counted(name, lengths, 1000 * place + 1)
        for place, (name, lengths) in enumerate(zip(NAMES, texts, strict=True))
    ]
    sizes = {source.name: len(source.store) for source in sources}
    try:
        schedule = rule.schedule(sizes, BUDGET, LENGTH)
    except ConfigError:
        return  # the sources run out before the budget, which is said
    steps = min(STEPS, schedule.end // (LENGTH * SEQUENCES))
    if not steps:
        return
    ends = [0, *sorted(kill for kill in kills if kill < steps), steps]
    legs = list(zip(np.diff(ends).tolist(), worlds, strict=False))
    found = served(rule, schedule, sources, pack, legs)
    whole = served(rule, schedule, sources, pack, [(steps, 1)])
    assert all(torch.equal(found[key], whole[key]) for key in whole)

    for place, source in enumerate(sources):
        mine = found["source"] == place
        assert sorted(found["draw"][mine].tolist()) == list(range(int(mine.sum())))
        ledger = dict(zip(FIELDS, found["counts"][mine].sum(0).tolist(), strict=True))
        labels = found["labels"][mine].flatten().numpy()
        assert ledger["tokens"] == ledger["target_tokens"] == (labels >= 0).sum()
        assert ledger["documents"] == (labels == 0).sum()
        assert ledger["tokens"] + ledger["padding"] == LENGTH * int(mine.sum())
        text = source.store.read(0, len(source.store))
        text = text[text > 0]
        assert np.isin(labels[labels > 0], text).all()
        times = np.bincount(labels[labels > 0] - text[0], minlength=text[-1] - text[0] + 1)
        times = times[text - text[0]]
        assert times.max() - times.min() <= (1 if pack == "best_fit" else 2)
        if rule.exhausted == "redistribute":
            most = int(2.5 * sizes[source.name]) // LENGTH * LENGTH
            assert ledger["tokens"] < most + LENGTH
            assert pack == "best_fit" or ledger["tokens"] <= most
