"""`marco evaluate` on a run that `train.py` made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from marco.commands import main
from marco.evaluation.history import after, before, read_history
from marco.evaluation.results.items import read_items
from marco.evaluation.results.table import read_results
from marco.models.kernels import Kernels
from marco.training.loading import ModelChoice

SMALL = ("logger=none", "kernels=reference", "evaluation=likelihood")
TASK = """
task: my_colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{{{q}}}}\\nA:"
doc_to_choice: "{{{{options}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}]
metadata: {{version: 1.0, language: swh}}
"""
BROKEN = """
task: my_broken
include: colours.yaml
doc_to_text: "{{ nothing.at.all }}"
"""

Evaluate = Callable[..., Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def evaluate(here: Path) -> Evaluate:
    """Run the command; returns the newest folder of results."""

    def run(*overrides: str, code: int = 0) -> Path:
        assert main(["evaluate", *overrides]) == code
        return max(here.glob("evaluations/**/results.parquet")).parent

    return run


@pytest.fixture
def own_tasks(here: Path) -> Path:
    folder = here / "tasks"
    folder.mkdir()
    data = folder / "colours.jsonl"
    lines = [{"q": f"{n}?", "options": ["moja", "mbili"], "answer": n % 2} for n in range(6)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "colours.yaml").write_text(TASK.format(data=data))
    (folder / "broken.yaml").write_text(BROKEN)
    return folder


def test_a_run_scores_as_it_did_while_it_trained(finished: Path, evaluate: Evaluate) -> None:
    folder = evaluate(f"model.path={finished}", *SMALL)
    history = read_history(finished)
    trained = after(history)
    assert trained is not None
    wanted = {(r.language, r.metric): r.value for r in trained.rows if r.task == "likelihood"}
    found = {(r["language"], r["metric"]): r["value"] for r in read_results(folder)}
    assert found.keys() == wanted.keys()
    for key, value in found.items():  # it trained under bf16 autocast, and is read in fp32
        assert value == pytest.approx(wanted[key], rel=2e-3)
    first = before(history)
    assert first is not None
    assert found["swh", "bits_per_byte"] < first.rows[2].value / 1.05
    (one,) = {(r["run"], r["checkpoint"], r["tokens"]) for r in read_results(folder)}
    assert one == (f"debug_fast/{finished.name}", sorted(finished.glob("checkpoints/*"))[-1].name,
                   10240)  # fmt: skip


def test_checkpoints_times_evaluations_and_a_table_of_all(
    finished: Path, evaluate: Evaluate, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = sorted(int(path.name[5:]) for path in finished.glob("checkpoints/step-*"))
    assert len(steps) > 1
    evaluate(f"model.path={finished}", f"model.checkpoint={steps[0]},{steps[-1]}", *SMALL)
    assert len(list(here.glob("evaluations/**/results.json"))) == 2
    shown = capsys.readouterr().out
    assert "Macro averages" in shown
    assert "1 of 2" in shown


def test_a_task_that_fails_is_reported_and_the_others_go_on(
    finished: Path, evaluate: Evaluate, own_tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"model.path={finished}", *SMALL, "evaluation.likelihood=false"]
    options += ["+evaluation.tasks.colours.names=[my_colours]", "evaluation.languages=[swh]"]
    options += [
        "+evaluation.tasks.broken.names=[my_broken]",
        f"evaluation.include_path={own_tasks}",
    ]
    folder = evaluate(*options)
    rows = {row["task"]: row for row in read_results(folder)}
    assert rows["colours"]["n"] == 6
    assert rows["colours"]["chance"] == 0.5
    assert rows["broken"]["value"] is None
    assert "nothing" in rows["broken"]["reason"]
    assert "failed" in capsys.readouterr().out
    alone = [each for each in options if "colours" not in each]
    evaluate(*alone, code=1)  # for scripts: nothing has a value
    items = read_items(folder)
    assert len(items) == 6
    right = [item.metrics["acc"] for item in items]
    assert sum(right) / 6 == pytest.approx(rows["colours"]["value"])

    capsys.readouterr()
    again = evaluate(*options)
    assert "responses were known from before" in capsys.readouterr().out
    assert again != folder
    assert read_items(again) == items


def test_a_folder_of_transformers_scores_as_the_run_it_came_from(
    finished: Path, evaluate: Evaluate, here: Path
) -> None:
    loaded = ModelChoice(str(finished)).load(Kernels("reference"))
    exported = here / "exported"
    loaded.root.network.save_pretrained(exported)
    loaded.tokenizer.save(exported)
    same = AutoModelForCausalLM.from_pretrained(exported)
    assert same.config.vocab_size == loaded.root.network.config.vocab_size
    options = [*SMALL, "evaluation.languages=[eng,tha]", "evaluation.row_length=64"]
    of_run = read_results(evaluate(f"model.path={finished}", *options))
    of_folder = read_results(evaluate(f"model.path={exported}", *options))
    values = [row["value"] for row in of_folder]
    assert values == pytest.approx([row["value"] for row in of_run], rel=1e-6)
    assert {row["run"] for row in of_folder} == {"exported"}
    assert {row["tokens"] for row in of_folder} == {None}


def test_two_processes_share_the_work_and_what_they_keep(
    finished: Path, evaluate: Evaluate, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [f"model.path={finished}", "logger=none", "kernels=reference", "model.device=cpu"]
    options += ["evaluation=embedded", "evaluation.languages=[swh]"]
    options += ["+evaluation.tasks.cloze.items=6"]
    alone = evaluate(*options)
    shared = evaluate(*options, "devices=2", "output=evaluations/shared")
    assert shared.is_relative_to(here / "evaluations" / "shared")
    assert read_items(shared) == read_items(alone)
    assert [row["value"] for row in read_results(shared)] == [
        row["value"] for row in read_results(alone)
    ]
    kept = list((here / "evaluations" / "shared").rglob("responses*.jsonl"))
    assert sorted(path.name for path in kept) == ["responses-1.jsonl", "responses.jsonl"]
    assert all(path.stat().st_size for path in kept)
    capfd.readouterr()
    evaluate(*options, "output=evaluations/shared")
    assert "responses were known from before" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.path=RUN", "model.checkpoint=7777"], "has the steps"),
        (["model.path=RUN", "model.checkpoint=bets"], "Did you mean 'best'"),
        (["model.path=RUN/checkpoints"], "neither a run"),
        (["model.path=nowhere/at/all"], "no such folder"),
        (["model.path=RUN", "evaluation=none"], "measures nothing"),
        (["model.path=RUN", "evaluation=likelyhood"], "'likelihood'"),
        (["model.path=RUN", "evaluation.languages=[yor]"], "yor is not a language of the data"),
        (["model.path=RUN", "+evaluation.tasks.x.names=[marco_flores_eng_sww]"], "Did you mean"),
        (["model.path=RUN,nowhere/at/all"], "no such folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    finished: Path, here: Path, capsys: pytest.CaptureFixture[str], overrides: list[str],
    message: str,
) -> None:  # fmt: skip
    given = [override.replace("RUN", str(finished)) for override in overrides]
    assert main(["evaluate", *given, "logger=none"]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "evaluations").exists()


def test_a_damaged_checkpoint_is_passed_over_and_none_left_is_said(
    finished: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here / "runs" / "copy"
    shutil.copytree(finished, run)
    *_, newest = sorted(run.glob("checkpoints/step-*"))
    state = next((newest / "state").glob("*.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged and is passed over"):
        loaded = ModelChoice(str(run)).load(Kernels("reference"))
    assert loaded.checkpoint is not None
    assert loaded.checkpoint < newest.name
    shutil.rmtree(run / "checkpoints")
    assert main(["evaluate", f"model.path={run}", "logger=none"]) == 2
    assert "has no checkpoint" in capsys.readouterr().err
