from __future__ import annotations

import math

import pytest

from marco.errors import ConfigError, DataError
from marco.mixing import Weights


def test_any_alias_names_a_language_and_weights_are_relative() -> None:
    rule = Weights({"en": 3, "German": 1, "swh": 4})
    shares = rule.shares({"swh": 10, "deu": 10, "eng": 10}, 30)
    assert shares == {"swh": 0.5, "deu": 0.125, "eng": 0.375}
    assert list(shares) == ["swh", "deu", "eng"]


def test_a_source_that_is_no_language_has_its_own_name() -> None:
    sizes = {"eng": 1, "parallel": 1, "my_wiki": 1}
    shares = Weights({"eng": 1, "parallel": 2, "my_wiki": 1}).shares(sizes, 1)
    assert shares == {"eng": 0.25, "parallel": 0.5, "my_wiki": 0.25}


def test_weight_zero_trains_nothing() -> None:
    assert Weights({"eng": 2, "deu": 0}).shares({"eng": 1, "deu": 1}, 1) == {"eng": 1, "deu": 0}
    with pytest.raises(ConfigError, match="every weight is 0"):
        Weights({"eng": 0}).check(["eng"])


def test_data_and_table_must_name_the_same_languages() -> None:
    rule = Weights({"eng": 1, "fr": 1, "hau": 1})
    with pytest.raises(ConfigError) as caught:
        rule.check(["eng", "swh", "yor"])
    message = str(caught.value)
    assert "no weight for swh, yor" in message
    assert "+mix.table.swh=" in message
    assert "a weight for fr, hau, which the data does not have" in message
    assert "~mix.table.fr" in message
    with pytest.raises(ConfigError, match="no weight for swh"):
        rule.shares({"eng": 1, "fra": 1, "hau": 1, "swh": 1}, 1)


def test_a_misspelled_language_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"mix\.table\.Germn: .*Did you mean 'German'"):
        Weights({"Germn": 1}).check(["deu"])
    with pytest.raises(ConfigError, match="Did you mean 'parallel'"):
        Weights({"paralel": 1}).check(["parallel"])


def test_one_language_under_two_names() -> None:
    with pytest.raises(ConfigError, match=r"'en' and 'eng' are the same language \(eng\)"):
        Weights({"en": 1, "eng": 1}).check(["eng"])


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_are_numbers(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"mix\.table\.eng="):
        Weights({"eng": weight})
    with pytest.raises(ConfigError, match="empty"):
        Weights({})


def test_a_language_without_text_is_named() -> None:
    with pytest.raises(DataError, match="no training tokens for eng"):
        Weights({"eng": 1}).shares({"eng": 0}, 1)
