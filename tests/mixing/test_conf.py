from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import marco.mixing
from marco.config.bind import bind
from marco.errors import ConfigError
from marco.languages import MARCO_LANGUAGES
from marco.mixing import Rule

CONF = Path(marco.mixing.__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "mix").glob("*.yaml"))
# About what the embedded corpus holds: a few thousand tokens a language.
SIZES = {code: 3000 + 100 * rank for rank, code in enumerate(MARCO_LANGUAGES)}


def rule(option: str, *overrides: str) -> Rule:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+mix={option}", *overrides])
    built = bind(config.mix, "mix")
    assert isinstance(built, Rule)
    return built


def test_mixing_loads_no_heavy_library() -> None:
    code = "import sys, marco.mixing; print(*{'torch', 'numpy', 'transformers'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_the_options_are_the_documented_ones() -> None:
    assert OPTIONS == [
        "groups",
        "linear",
        "marco_stage1",
        "marco_stage2",
        "natural",
        "stages",
        "temperature",
        "uniform",
        "unimax",
        "weights",
    ]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_works_on_the_29_languages_as_shipped(option: str) -> None:
    built = rule(option)
    built.check(MARCO_LANGUAGES)
    shares = built.shares(SIZES, 700_000)
    assert abs(math.fsum(shares.values()) - 1) <= 1e-12
    assert min(shares.values()) > 0


def test_shipped_tables_read_as_shares() -> None:
    weights = rule("weights").shares(SIZES, 1)
    assert weights["eng"] == pytest.approx(0.1)
    assert weights["cmn"] == pytest.approx(0.05)
    groups = rule("groups").shares(SIZES, 1)
    assert math.fsum(groups[code] for code in MARCO_LANGUAGES[10:]) == pytest.approx(0.55)


def test_marco_stage_without_its_other_sources_says_what_it_did() -> None:
    built = rule("marco_stage1")
    shares = built.shares(SIZES, 1)
    assert shares["eng"] == pytest.approx(32 / 88)
    (note,) = built.notes(SIZES)
    assert "no data for parallel (6.0%), knowledge (5.0%), synthetic (1.0%); that 12.0%" in note


def test_the_overrides_that_the_comments_show() -> None:
    sizes = {**SIZES, "swh": 3000}
    shares = rule("weights", "+mix.table.swh=0.1").shares(sizes, 1)
    assert shares["swh"] == pytest.approx(0.1 / 1.1)
    assert rule("weights", "mix.table.eng=0.2").shares(SIZES, 1)["eng"] == pytest.approx(0.2 / 1.1)
    without = {code: size for code, size in SIZES.items() if code != "vie"}
    assert "vie" not in rule("weights", "~mix.table.vie").shares(without, 1)
    only = rule("weights", "~mix.table", "+mix.table={eng: 0.7, swh: 0.3}")
    assert only.shares({"eng": 1, "swh": 1}, 1) == {"eng": 0.7, "swh": 0.3}

    turkic = rule(
        "groups",
        "+mix.groups.turkic={share: 0.1, members: [azj, kaz]}",
        "mix.groups.low.share=0.45",
    ).shares(SIZES, 1)
    assert turkic["kaz"] == 0.05
    assert rule("temperature", "mix.alpha=0").shares(SIZES, 1)["eng"] == pytest.approx(1 / 29)
    assert rule("unimax", "mix.epoch_cap=300").shares(SIZES, 1)["eng"] == pytest.approx(1 / 29)


@pytest.mark.parametrize(
    ("option", "override", "message"),
    [
        ("temperature", "mix.alpha=-1", r"mix\.alpha=-1"),
        ("temperature", "+mix.alhpa=1", r"mix\.alhpa'.*Did you mean 'mix\.alpha'"),
        ("unimax", "mix.epoch_cap=0", r"mix\.epoch_cap=0"),
        (
            "groups",
            "+mix.groups.low.whithin=1",
            r"low\.whithin'.*mix\.groups\.low\.within'",
        ),
        ("groups", "mix.groups.low.within=natural", r"mix\.groups\.low\.within should be"),
        ("groups", "mix.groups.low.share=2", r"mix\.groups\.low\.share=2"),
        ("groups", "~mix.groups.low.share", r"mix\.groups\.low\.share must be given"),
        ("groups", "mix.absent=ignore", r"mix\.absent"),
        ("groups", "~mix.groups.low", r"add up to 1, not 0\.45"),
        ("weights", "+mix.table.no=0.1", r"mix\.table"),
        ("weights", "mix.table.eng=-1", r"mix\.table\.eng=-1"),
        ("weights", "+mix.table.Swahilli=1", r"mix\.table\.Swahilli: .*Did you mean 'Swahili'"),
    ],
)
def test_a_wrong_override_is_one_clear_error(option: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule(option, override).check(MARCO_LANGUAGES)
