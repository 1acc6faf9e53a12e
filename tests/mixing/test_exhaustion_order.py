from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mixing.mixes import constant, outcome, schedules, within

from marco.mixing import MixSchedule, QuotaOrder, Temperature, exhausted


def limits_of(schedule: MixSchedule, draw: st.DataObject, length: int) -> dict[str, int]:
    """Whole sequences, so small that some sources run out."""
    room = schedule.end // length
    return {name: draw.draw(st.integers(0, room)) * length for name in schedule.names}


@settings(deadline=None)
@given(schedule=schedules(5000), data=st.data(), length=st.sampled_from([1, 16, 64]))
def test_nobody_passes_a_limit_and_every_prefix_holds(
    schedule: MixSchedule, data: st.DataObject, length: int
) -> None:
    limits = limits_of(schedule, data, length)
    policy = data.draw(st.sampled_from(["redistribute", "stop"]))
    final, refused = outcome(lambda: exhausted(schedule, limits, policy))
    if final is None:
        assert refused.startswith(f"mix.exhausted={policy}: ")
        return
    end = final.end
    assert end == schedule.end if policy == "redistribute" else end <= schedule.end
    assert sum(final.tokens(name, end) for name in final.names) == end
    for name in final.names:
        assert final.tokens(name, end) <= limits[name]
    order = QuotaOrder(final, length)
    half = end // length // 2
    order.take(half)
    order_after = QuotaOrder(final, length)
    order_after.load_state_dict(order.state_dict())
    for _ in range(min(end // length - half, 300)):
        order_after.next()
        assert within(final, order_after.tokens, length)
        for name, served in zip(final.names, order_after.tokens, strict=True):
            assert served <= limits[name]


@settings(deadline=None)
@given(
    sizes=st.dictionaries(
        st.text("abcdef", min_size=2, max_size=3), st.integers(64, 4000), min_size=2, max_size=20
    ),
    alpha=st.floats(0, 1.5),
    part=st.floats(0.3, 0.95),
    epochs=st.floats(0.5, 3),
)
def test_an_exhausted_source_serves_its_limit_exactly(
    sizes: dict[str, int], alpha: float, part: float, epochs: float
) -> None:
    length = 32
    limits = {name: int(epochs * size) // length * length for name, size in sizes.items()}
    budget = int(sum(limits.values()) * part) // length * length
    assume(budget > 0)
    rule = Temperature(alpha, exhausted="redistribute", max_epochs=epochs)
    schedule = rule.schedule(sizes, budget, length)
    order = QuotaOrder(schedule, length)
    order.take(budget // length)
    for name, served in zip(order.names, order.tokens, strict=True):
        assert served <= limits[name]
        if schedule.shares_at(budget)[name] == 0:
            assert served == limits[name]


def test_sequences_of_any_size_pass_a_limit_by_less_than_one() -> None:
    final = exhausted(
        constant({"eng": 0.5, "swh": 0.3, "yor": 0.2}, 3000),
        {"swh": 150, "yor": 100},
        "redistribute",
    )
    order = QuotaOrder(final, 64, lambda source, draw: 1 + (source * 7 + draw * 29) % 64)
    while order.position < 2900:
        order.next()
        assert within(final, order.tokens, 64)
    assert 86 < order.tokens[1] < 150 + 64
    assert 36 < order.tokens[2] < 100 + 64
