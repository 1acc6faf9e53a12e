from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mixing.mixes import outcome, within
from omegaconf import OmegaConf

import marco.mixing
from marco.config.bind import bind
from marco.mixing import (
    Linear,
    Natural,
    Point,
    QuotaOrder,
    Rule,
    Stage,
    Stages,
    Temperature,
    Uniform,
    marco_corpus,
)

CONF = Path(marco.mixing.__file__).parents[2] / "conf" / "mix"
SIZES = {"eng": 900, "cmn": 500, "swh": 100, "eng_books": 300}


def test_the_papers_two_stages_use_what_table_1_prints() -> None:
    stages = {}
    for name, tokens in (("stage1", 160_000_000_000), ("stage2", 140_000_000_000)):
        mix: Any = OmegaConf.load(CONF / f"marco_{name}.yaml")
        stages[name] = {"tokens": tokens, "mix": mix}
    rule = bind({"_target_": "marco.mixing.Stages", "stages": stages}, "mix")
    corpus, budget = marco_corpus(), 300_000_000_000
    rule.check(list(corpus.sizes))
    assert rule.notes(corpus.sizes) == []
    schedule = rule.schedule(corpus.sizes, budget)
    assert sum(schedule.tokens(name, budget) for name in schedule.names) == budget
    for name, printed in corpus.used.items():
        # 10.55 is printed as 10.6: the one token is for floats.
        assert abs(schedule.tokens(name, budget) - printed) <= 0.05e9 + 1
    # No source runs out: redistribution changes nothing.
    capped = Stages(rule.stages, exhausted="redistribute")
    assert capped.schedule(corpus.sizes, budget) == schedule


RULES = st.sampled_from(
    [Uniform(), Natural(), Temperature(0.3), Linear({"a": Point(0.0, Natural())})]
)


@st.composite
def stage_tables(draw: st.DrawFn) -> dict[str, Stage]:
    table: dict[str, Stage] = {}
    for number in range(draw(st.integers(1, 4))):
        sources = draw(st.sets(st.sampled_from(sorted(SIZES)), min_size=1))
        earlier = [*table, None]
        replay = draw(st.sampled_from([0.0, 0.1, 1.0])) if number else 0.0
        of = draw(st.sampled_from(earlier)) if replay else None
        tokens = draw(st.integers(100, 900)) if number else None
        table[f"s{number}"] = Stage(draw(RULES), tokens, sorted(sources), replay, of)
    return table


@settings(deadline=None)
@given(
    table=stage_tables(),
    policy=st.sampled_from(["repeat", "redistribute", "stop"]),
    kill=st.integers(0, 200),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_stages_hold_their_shares_and_cross_boundaries_on_resume(
    table: dict[str, Stage], policy: Any, kill: int, shuffle: Any
) -> None:
    length, budget = 20, 4000
    epochs = None if policy == "repeat" else 4.0
    rule: Rule = Stages(table, exhausted=policy, max_epochs=epochs)
    rule.check(list(SIZES))
    schedule, refused = outcome(lambda: rule.schedule(SIZES, budget, length))
    if schedule is None:
        assert "used up" in refused
        return
    order = QuotaOrder(schedule, length)
    steps = schedule.end // length
    kill = min(kill, steps)
    order.take(kill)
    resumed = QuotaOrder(schedule, length)
    resumed.load_state_dict(order.state_dict())
    names = list(SIZES)
    shuffle.shuffle(names)
    listed = QuotaOrder(rule.schedule({n: SIZES[n] for n in names}, budget, length), length)
    served = [listed.names[index] for index in listed.take(steps)]
    for step in range(kill, steps):
        index = resumed.next()
        assert index == order.next()
        assert resumed.names[index] == served[step]
        assert within(schedule, resumed.tokens, length)
    assert resumed.position == steps * length == sum(resumed.tokens)
    if policy != "repeat":
        assert all(n <= 4 * SIZES[name] for name, n in zip(names, listed.tokens, strict=True))
