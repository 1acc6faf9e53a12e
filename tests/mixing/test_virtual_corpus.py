from __future__ import annotations

import math
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

import marco.mixing
from marco.config.bind import bind
from marco.languages import MARCO_LANGUAGES
from marco.mixing import Groups, marco_corpus

CONF = Path(marco.mixing.__file__).parents[2] / "conf" / "mix"
STAGES = {"marco_stage1": 160_000_000_000, "marco_stage2": 140_000_000_000}
# Tables 2 and 3, in percent of the stage's tokens.
PUBLISHED = {
    "marco_stage1": (32, 17, 30, 9, 6, 5, 1),
    "marco_stage2": (28, 15, 26, 15, 8, 6, 2),
}
MEMBERS: tuple[tuple[str, ...], ...] = (
    MARCO_LANGUAGES[:1],
    MARCO_LANGUAGES[1:2],
    MARCO_LANGUAGES[2:10],
    MARCO_LANGUAGES[10:],
    ("parallel",),
    ("knowledge",),
    ("synthetic",),
)


def shares(stage: str) -> dict[str, float]:
    settings = OmegaConf.load(CONF / f"{stage}.yaml")
    assert isinstance(settings, DictConfig)
    rule = bind(settings, "mix")
    assert isinstance(rule, Groups)
    sizes = marco_corpus().sizes
    rule.check(list(sizes))
    assert rule.notes(sizes) == []
    return rule.shares(sizes, STAGES[stage])


def test_the_table_has_the_papers_sources_in_its_order() -> None:
    corpus = marco_corpus()
    assert set(corpus.sizes) == {*MARCO_LANGUAGES, "parallel", "knowledge", "synthetic"}
    assert list(corpus.used) == list(corpus.sizes)
    assert corpus.sizes["eng"] == 1_459_700_000_000
    assert corpus.sizes["zlm"] == 2_900_000_000  # the smallest language
    assert corpus.used["cmn"] == 48_200_000_000
    # Rounding of the 27 equal rows to a tenth makes 301.1 of the printed 300.0.
    assert sum(corpus.used.values()) == 301_100_000_000


@pytest.mark.parametrize("stage", STAGES)
def test_the_published_group_shares_uniform_inside(stage: str) -> None:
    result = shares(stage)
    for percent, members in zip(PUBLISHED[stage], MEMBERS, strict=True):
        assert math.fsum(result[name] for name in members) == pytest.approx(
            percent / 100, rel=1e-14
        )
        assert len({result[name] for name in members}) == 1


def test_both_stages_together_use_what_table_1_prints_and_no_language_passes_one_epoch() -> None:
    corpus = marco_corpus()
    used = {
        name: math.fsum(shares(stage)[name] * tokens for stage, tokens in STAGES.items())
        for name in corpus.sizes
    }
    assert math.fsum(used.values()) == pytest.approx(300e9, rel=1e-12)
    for name, tokens in used.items():
        assert tokens <= corpus.sizes[name]
        # A tenth of a billion is printed; 10.55 is printed as 10.6. The half cent is for floats.
        assert abs(tokens - corpus.used[name]) <= 0.05e9 + 1
    assert used["eng"] == pytest.approx(90.4e9)
    assert used["deu"] == pytest.approx(10.55e9)
    assert used["kaz"] == pytest.approx(35.4e9 / 19)
