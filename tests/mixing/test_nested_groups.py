from __future__ import annotations

from typing import Literal

import pytest

from marco.errors import ConfigError
from marco.mixing import Groups, GroupShare, Natural, Temperature, Weights


def three_levels(absent: Literal["error", "renormalise"] = "error") -> Groups:
    turkic = Groups({"kazakh": GroupShare(0.75, ["kaz"]), "rest": GroupShare(0.25, ["azj", "tur"])})
    asia = Groups(
        {
            "turkic": GroupShare(0.5, ["kk", "Turkish", "azj"], turkic),
            "south": GroupShare(0.5, ["npi", "hin"], Natural()),
        },
        absent=absent,
    )
    return Groups(
        {
            "europe": GroupShare(0.2, ["deu", "eng", "eng_books"], Temperature(0.0)),
            "asia": GroupShare(0.8, ["kaz", "azj", "tur", "npi", "hin"], asia),
        },
        absent=absent,
    )


def test_three_levels_of_groups_with_books_beside() -> None:
    sizes = {"eng": 9, "eng_books": 5, "deu": 2, "kaz": 1, "azj": 1, "tur": 1, "npi": 1, "hin": 3}
    rule = three_levels()
    rule.check(list(sizes))
    assert rule.notes(sizes) == []
    assert rule.shares(sizes, 1000) == pytest.approx(
        {
            **dict.fromkeys(("eng", "eng_books", "deu"), 0.2 / 3),
            "kaz": 0.3,
            "azj": 0.05,
            "tur": 0.05,
            "npi": 0.1,
            "hin": 0.3,
        }
    )


def test_notes_and_errors_of_a_deep_group_have_its_key() -> None:
    sizes = {"eng": 9, "eng_books": 5, "deu": 2, "kaz": 1, "azj": 1, "tur": 1, "npi": 1}
    notes = three_levels("renormalise").notes(sizes)
    assert notes[-1].startswith("mix.groups.asia.within: no data for hin of group 'south'")
    wrong = Groups({"a": GroupShare(1.0, ["kaz"], Weights({"npi": 1.0}))})
    deep = Groups({"x": GroupShare(1.0, ["low"], wrong)})
    with pytest.raises(ConfigError, match=r"mix\.groups\.x\.within\.groups\.a\.within\.table\.kaz"):
        deep.check(["kaz"])
    homeless = Groups({"x": GroupShare(1.0, ["low"], Groups({"a": GroupShare(1.0, ["kaz"])}))})
    with pytest.raises(ConfigError, match=r"mix\.groups\.x\.within\.groups: no group takes npi"):
        homeless.check(["kaz", "npi"])
