from __future__ import annotations

import pytest

from marco.evaluation.generations.identifier import Identifier, identify
from marco.languages import MARCO_LANGUAGES

Declarations = dict[str, dict[int, str]]


def test_real_text_is_hardly_ever_called_wrong(identifier: Identifier) -> None:
    """Measured: 0.24 % of lines over 121 languages, 4.3 % at most."""
    controls = identifier.controls
    assert set(MARCO_LANGUAGES) <= set(controls)
    lines = sum(control.lines for control in controls.values())
    assert sum(control.wrong * control.lines for control in controls.values()) / lines < 0.01
    assert all(control.wrong < 0.05 for control in controls.values())
    assert all(40 < control.lines < 70 for control in controls.values())


def test_only_relatives_are_taken_for_each_other(identifier: Identifier) -> None:
    also = {code: found.accepted - {code} for code, found in identifier.controls.items()}
    assert {code: set(others) for code, others in also.items() if others} == {
        "ind": {"zlm"},
        "bos": {"hrv", "srp"},
        "hrv": {"bos"},
        "nno": {"nob"},
    }


def test_text_of_another_language_is_called_wrong(
    identifier: Identifier, declarations: Declarations
) -> None:
    """Each of the 29 languages' article 26, as if it were in the next one."""
    for mine, other in zip(
        MARCO_LANGUAGES, [*MARCO_LANGUAGES[1:], MARCO_LANGUAGES[0]], strict=True
    ):
        assert identifier.wrong(declarations[mine][26], other) is True, (mine, other)
        assert identifier.wrong(declarations[mine][26], mine) is False, mine


def test_one_wrong_line_is_enough_and_short_ones_do_not_count(
    identifier: Identifier, declarations: Declarations
) -> None:
    swahili, english = declarations["swh"][1], declarations["eng"][1]
    assert identifier.wrong(f"{swahili}\n{english}", "swh") is True
    assert identifier.wrong(f"{swahili}\nThe answer: 42\n\n{swahili}", "swh") is False
    assert identifier.wrong("The answer: 42", "swh") is None
    assert identifier.wrong("", "swh") is None


def test_what_cannot_be_judged_has_a_reason(identifier: Identifier) -> None:
    assert identifier.reason("swh") is None
    assert identifier.reason("tso") == "not a language of the identifier"
    assert identifier.reason("asm") == "no real text to try the identifier on"
    assert identifier.wrong("Vanhu hinkwavo va tswariwile va ntshunxekile", "tso") is None
    with pytest.raises(KeyError):
        identifier.reason("fin")
    assert Identifier(["tso"]).controls == {}


def test_labels_are_the_registrys_codes() -> None:
    assert identify("Saolaítear na daoine uile saor agus comhionann i ndínit agus i gcearta") == [
        "gle"  # py3langid's "ga", which is also the name of a language, Ga
    ]
    assert identify("Все люди рождаются свободными\nshort\nAlle Menschen sind frei geboren") == [
        "rus",
        "deu",
    ]
