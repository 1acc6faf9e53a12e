from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marco.config import bind, compose, container
from marco.errors import ConfigError
from marco.evaluation.settings import SweepSettings
from marco.evaluation.suite.task_set import TaskSet

CONF = Path(__file__).parents[2] / "conf" / "evaluation"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_choice_says_when_to_choose_it_and_binds(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# For ")
    cfg = compose([f"evaluation={path.stem}", "batch.sequence_length=384"])
    settings = bind(container(cfg)["evaluation"], "evaluation")
    assert isinstance(settings, SweepSettings)
    assert set(cfg.evaluation) - {"_target_"} == set(SweepSettings.__dataclass_fields__)
    assert settings.row_length == 384
    assert settings.enabled is (path.stem != "none")
    assert settings.lexicon is (path.stem in ("default", "embedded"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every_tokens": 0}, r"evaluation\.every_tokens=0: must be at least 1 or null"),
        ({"items_per_language": 0}, r"items_per_language=0: must be at least 1 or null\."),
        ({"max_tokens": 0}, r"evaluation\.max_tokens=0: must be at least 1 or null\."),
        ({"minutes_per_task": 0}, "minutes_per_task=0: must be above 0, or null"),
        ({"data_dir": Path("nowhere")}, "data_dir=nowhere: there is no such folder"),
        ({"max_tokens": -1}, r"evaluation\.max_tokens=-1"),
        ({"row_length": 0}, r"evaluation\.row_length=0"),
        ({"languages": []}, r"evaluation=none"),
        ({"languages": ["swahilli"]}, "Swahili"),
    ],
)
def test_a_wrong_value_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SweepSettings(**fields)


def test_evaluated_languages_are_languages_of_the_data() -> None:
    settings = SweepSettings(languages=["sw", "German"])
    assert settings.chosen(["deu", "eng", "swh"]) == ["swh", "deu"]
    settings.check(["deu", "eng", "swh"])
    with pytest.raises(ConfigError, match="swh is not a language of the data, which has deu, eng"):
        settings.check(["deu", "eng"])
    assert SweepSettings().chosen(["deu", "eng"]) == ["deu", "eng"]


def test_tasks_are_found_or_the_nearest_is_named() -> None:
    tasks = {"stories": TaskSet(["xstorycloze_en", "xstorycloze_sw"])}
    assert [p.language for p in SweepSettings(tasks=tasks).places()["stories"]] == ["eng", "swh"]
    only = {"likelihood": False, "lexicon": False}
    SweepSettings(tasks=tasks, **only).check(["swh"])
    with pytest.raises(ConfigError, match=r"measures eng, swh.*languages=\[all\]"):
        SweepSettings(tasks=tasks, **only).check(["yor"])
    SweepSettings(tasks=tasks, languages=["all"], **only).check(["yor"])
    wrong = {"stories": TaskSet(["xstorycloze_swa"])}
    with pytest.raises(ConfigError, match=r"no task .xstorycloze_swa..*xstorycloze_sw"):
        SweepSettings(tasks=wrong).check(["swh"])


def test_what_is_measured_is_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    wrong = {"stories": TaskSet(["xstorycloze_sw"], metrics=["accuracy"])}
    message = r"evaluation\.tasks\.stories\.metrics: xstorycloze_sw has no metric 'accuracy'.*'acc'"
    with pytest.raises(ConfigError, match=message):
        SweepSettings(tasks=wrong).check(["swh"])
    with pytest.raises(ConfigError, match=r"there is no n-gram index.*`marco ngrams`"):
        SweepSettings(ngrams=tmp_path).check(["swh"])


def test_settings_come_without_torch() -> None:
    code = (
        "import sys, marco.evaluation.settings; "
        "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
