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
from marco.mixing import Natural, Rule

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


def test_the_overrides_that_schedules_show() -> None:
    linear = rule("linear", "mix.points.end.at=0.5", "mix@mix.points.end.mix=natural")
    assert linear.schedule(SIZES, 1000).segments[0].end == 500
    assert linear.schedule(SIZES, 1000).shares_at(700) == Natural().shares(SIZES, 1000)
    more = rule("linear", "+mix@mix.points.middle.mix=natural", "+mix.points.middle.at=0.3")
    assert [segment.end for segment in more.schedule(SIZES, 1000).segments] == [300, 1000]

    decay = rule(
        "stages",
        "mix@mix.stages.stage1.mix=natural",
        "+mix@mix.stages.decay.mix=natural",
        "+mix.stages.decay.tokens=0.1",
        "+mix.stages.decay.replay=0.2",
    )
    decay.check(MARCO_LANGUAGES)
    segments = decay.schedule(SIZES, 1000).segments
    ends = [("stage1", 530), ("stage2", 900), ("decay", 1000)]
    assert [(segment.name, segment.end) for segment in segments] == ends
    natural = Natural().shares(SIZES, 1)
    assert segments[0].first == natural
    replayed = {name: 0.8 * natural[name] + 0.2 * segments[1].first[name] for name in natural}
    assert segments[2].first == pytest.approx(replayed)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_says_what_the_whole_run_does(option: str) -> None:
    own = rule(option, "mix.sampling=iid", "mix.exhausted=redistribute", "mix.max_epochs=300")
    own.check(MARCO_LANGUAGES)
    assert (own.sampling, own.exhausted, own.max_epochs) == ("iid", "redistribute", 300)
    assert own.schedule(SIZES, 700_000, 256).end == 700_000
    with pytest.raises(ConfigError, match=r"mix\.max_epochs=2 has no effect"):
        rule(option, "mix.max_epochs=2")


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
        (
            "groups",
            "+mix.groups.low.within.sampling=iid",
            r"mix\.groups\.low\.within\.sampling=iid",
        ),
        ("stages", "mix.stages.stage2.mix.exhausted=stop", r"mix\.stages\.stage2\.mix\.exh"),
        ("stages", "mix.stages.stage1.tokens=1e9", r"fraction .* for tokens write 1000000000"),
        ("stages", "mix.stages.stage1.sources=[xyzzy]", r"mix\.stages\.stage1\.sources"),
        ("linear", "mix.points.end.at=0", r"end and start are both at 0"),
        ("uniform", "mix.sampling=iidd", r"mix\.sampling.*Did you mean 'iid'"),
        ("uniform", "mix.exhausted=halt", r"mix\.exhausted"),
        ("uniform", "mix.max_epochs=many", r"mix\.max_epochs should be a number"),
        ("groups", "~mix.groups.low", r"add up to 1, not 0\.45"),
        ("weights", "+mix.table.no=0.1", r"mix\.table"),
        ("weights", "mix.table.eng=-1", r"mix\.table\.eng=-1"),
        ("weights", "+mix.table.Swahilli=1", r"mix\.table\.Swahilli: .*Did you mean 'Swahili'"),
    ],
)
def test_a_wrong_override_is_one_clear_error(option: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule(option, override).check(MARCO_LANGUAGES)
