from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.errors import ConfigError, DataError
from marco.languages import MARCO_LANGUAGES
from marco.mixing import Groups, GroupShare, Natural, Rule, Temperature, UniMax, Weights

SIZES = {"eng": 900, "cmn": 500, "deu": 400, "fra": 100, "kaz": 30, "npi": 10}


def marco(**changes: Any) -> Groups:
    groups: dict[str, GroupShare] = {
        "english": GroupShare(0.4),
        "chinese": GroupShare(0.1),
        "high": GroupShare(0.3, within=Natural()),
        "low": GroupShare(0.2),
    }
    return Groups(**{"groups": groups, **changes})


def test_share_times_the_rule_inside() -> None:
    assert marco().shares(SIZES, 1000) == pytest.approx(
        {"eng": 0.4, "cmn": 0.1, "deu": 0.24, "fra": 0.06, "kaz": 0.1, "npi": 0.1}, rel=1e-15
    )
    assert marco().notes(SIZES) == []


@settings(deadline=None)
@given(
    sizes=st.fixed_dictionaries(
        dict.fromkeys([*MARCO_LANGUAGES, "parallel"], st.integers(1, 10**12))
    ),
    parts=st.tuples(*[st.integers(1, 50)] * 3),
    rule=st.sampled_from([Natural(), Temperature(0.2), UniMax(1000.0)]),
    seed=st.integers(0, 99),
)
def test_group_shares_hold_and_order_does_not_matter(
    sizes: dict[str, int], parts: tuple[int, ...], rule: Rule, seed: int
) -> None:
    share = [part / sum(parts) for part in parts]
    groups = Groups(
        {
            "big": GroupShare(share[0], ["english", "chinese", "high"], rule),
            "low": GroupShare(share[1], within=rule),
            "parallel": GroupShare(share[2]),
        }
    )
    budget = min(sizes.values())
    shares = groups.shares(sizes, budget)
    assert list(shares) == list(sizes)
    assert abs(math.fsum(shares.values()) - 1) <= 1e-12
    assert math.fsum(shares[code] for code in MARCO_LANGUAGES[:10]) == pytest.approx(share[0])
    assert math.fsum(shares[code] for code in MARCO_LANGUAGES[10:]) == pytest.approx(share[1])
    shuffled = list(sizes)
    random.Random(seed).shuffle(shuffled)
    assert groups.shares({name: sizes[name] for name in shuffled}, budget) == shares


def test_a_code_goes_before_a_resource_group_and_any_alias_will_do() -> None:
    rule = Groups(
        {
            "steppe": GroupShare(0.5, ["Kazakh"]),
            "rest": GroupShare(0.5, ["english", "chinese", "high", "low"], Natural()),
        }
    )
    shares = rule.shares(SIZES, 1000)
    assert shares["kaz"] == 0.5
    assert shares["npi"] == pytest.approx(0.5 * 10 / 1910)


def test_the_cap_inside_a_group_is_on_the_groups_part_of_the_budget() -> None:
    rule = Groups(
        {
            "big": GroupShare(0.5, ["english", "chinese", "high"]),
            "low": GroupShare(0.5, within=UniMax(2.0)),
        }
    )
    # 50 of 100 tokens for low: npi is capped at 2 × 10, kaz takes the other 30.
    shares = rule.shares(SIZES, 100)
    assert (shares["npi"], shares["kaz"]) == (0.2, 0.3)
    with pytest.raises(ConfigError, match=r"mix\.groups\.low\.within\.epoch_cap=2: .* is 80,"):
        rule.shares(SIZES, 1000)


def test_groups_within_groups() -> None:
    inner = Groups({"east": GroupShare(0.75, ["npi"]), "west": GroupShare(0.25, ["kaz"])})
    shares = marco(
        groups={
            "all": GroupShare(0.2, ["english", "chinese", "high"]),
            "low": GroupShare(0.8, within=inner),
        }
    ).shares(SIZES, 1000)
    assert shares["npi"] == pytest.approx(0.6)


def test_an_absent_group_is_an_error_or_is_shared_out() -> None:
    sizes = {"eng": 1, "cmn": 1, "kaz": 1}
    with pytest.raises(ConfigError, match=r"nothing for group 'high'; mix\.absent=renormalise"):
        marco().check(list(sizes))
    with pytest.raises(ConfigError, match="group 'high'"):
        marco().shares(sizes, 1)

    rule = marco(absent="renormalise")
    rule.check(list(sizes))
    assert rule.shares(sizes, 1) == pytest.approx({"eng": 4 / 7, "cmn": 1 / 7, "kaz": 2 / 7})
    (note,) = rule.notes(sizes)
    assert "no data for high (30.0%)" in note
    assert "english 57.1%, chinese 14.3%, low 28.6%" in note


def test_an_absent_member_is_an_error_or_is_shared_out() -> None:
    groups = {"pair": GroupShare(0.5, ["swh", "deu"]), "english": GroupShare(0.5)}
    with pytest.raises(ConfigError, match=r"nothing for group 'pair' \(swh\)"):
        Groups(groups).shares({"eng": 1, "deu": 1}, 1)
    rule = Groups(groups, absent="renormalise")
    assert rule.shares({"eng": 1, "deu": 1}, 1) == {"eng": 0.5, "deu": 0.5}
    (note,) = rule.notes({"eng": 1, "deu": 1})
    assert "no data for swh of group 'pair'" in note


def test_a_source_that_no_group_takes_is_named() -> None:
    for absent in ("error", "renormalise"):
        with pytest.raises(ConfigError, match="no group takes parallel, crawl;"):
            marco(absent=absent).check([*SIZES, "parallel", "crawl"])


def test_a_source_in_two_groups_is_named() -> None:
    twice = Groups({"a": GroupShare(0.5, ["deu"]), "b": GroupShare(0.5, ["German"])})
    with pytest.raises(ConfigError, match=r"groups\.b\.members: 'German' is already in group 'a'"):
        twice.check(["deu"])
    twice = Groups({"low": GroupShare(0.5), "b": GroupShare(0.5, ["low"])})
    with pytest.raises(ConfigError, match="'low' is already in group 'low'"):
        twice.check(["kaz"])


def test_names_are_checked_and_the_nearest_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"mix\.groups\.hihg: .*Did you mean 'high'"):
        Groups({"hihg": GroupShare(1.0)}).check(["deu"])
    with pytest.raises(ConfigError, match=r"mix\.groups\.mine\.members: .*mean 'Swahili'"):
        Groups({"mine": GroupShare(1.0, ["Swahilli"])}).check(["swh"])


def test_the_rule_inside_is_checked_too() -> None:
    rule = Groups({"low": GroupShare(1.0, within=Weights({"kaz": 1.0}))})
    rule.check(["kaz"])
    with pytest.raises(ConfigError, match=r"\+mix\.groups\.low\.within\.table\.npi="):
        rule.check(["kaz", "npi"])


def test_shares_must_add_up() -> None:
    with pytest.raises(ConfigError, match=r"add up to 1, not 0\.9 \(english 0\.4, low 0\.5\)"):
        Groups({"english": GroupShare(0.4), "low": GroupShare(0.5)})
    third = {"english": 0.333333, "high": 0.333333, "low": 0.333333}
    shares = Groups({name: GroupShare(share) for name, share in third.items()}).shares(
        {"eng": 1, "deu": 1, "kaz": 1}, 1
    )
    assert shares == pytest.approx(dict.fromkeys(shares, 1 / 3), rel=1e-15)


def test_a_group_of_share_zero_trains_nothing() -> None:
    rule = Groups({"english": GroupShare(1.0), "low": GroupShare(0.0, within=UniMax(1.0))})
    assert rule.shares({"kaz": 5, "eng": 5}, 3) == {"kaz": 0.0, "eng": 1.0}
    with pytest.raises(ConfigError, match="every group that has data has share 0"):
        Groups(rule.groups, absent="renormalise").check(["kaz"])
    # Nobody misses the data of a group that gets nothing.
    assert rule.shares({"eng": 5}, 3) == {"eng": 1.0}
    assert rule.notes({"eng": 5}) == []


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (GroupShare(1.5), r"mix\.groups\.low\.share=1\.5: must be from 0 to 1"),
        (GroupShare(-0.5), r"mix\.groups\.low\.share=-0\.5"),
        (GroupShare(math.nan), r"mix\.groups\.low\.share=nan"),
        (GroupShare(1.0, []), r"mix\.groups\.low\.members=\[\]"),
    ],
)
def test_wrong_groups(group: GroupShare, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Groups({"low": group})


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match=r"mix\.absent=ignore"):
        marco(absent="ignore")
    with pytest.raises(ConfigError, match=r"mix\.groups: empty"):
        Groups({})


def test_a_language_without_text_is_named() -> None:
    with pytest.raises(DataError, match="no training tokens for npi"):
        marco().shares({**SIZES, "npi": 0}, 1000)
