"""The view of a project: built and put into W&B's format, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from marco.commands import main
from marco.evaluation.history import Evaluation, write_history
from marco.evaluation.rows import Row
from marco.evaluation.scalars import scalars
from marco.tracking.wandb_workspace import build_workspace, metrics_by_name

EVALUATION = Evaluation(
    4,
    400,
    (
        Row("likelihood", "eng", "english", "bits_per_byte", 2.0, 5),
        Row("likelihood", "swh", "low", "bits_per_byte", 3.0, 5),
        Row("belebele", "swh", "low", "acc", 0.5, 5),
    ),
)


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    logger = {"project": "languages", "entity": "a_team"}
    (folder / "config.yaml").write_text(yaml.safe_dump({"logger": logger}))
    write_history(folder, [EVALUATION])
    return folder


def test_a_section_for_each_metric_over_tokens() -> None:
    view = build_workspace("a_team", "languages", "marco", scalars(EVALUATION))._to_model()
    spec = json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))
    bank = spec["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in bank] == [
        "Overview",
        "bits_per_byte",
        "belebele",
        "Training by language",
        "Speed",
    ]
    shown = {
        metric: panel["config"].get("xAxis")
        for section in bank
        for panel in section["panels"]
        for metric in panel["config"].get("metrics", ())
    }
    assert {key: shown[key] for key in scalars(EVALUATION)} == dict.fromkeys(
        scalars(EVALUATION), "tokens"
    )
    assert shown["train/loss"] == shown["train/tokens_per_second"] == "tokens"


def test_metrics_are_sorted_by_name() -> None:
    keys = ["eval/a/macro", "eval/seconds", "eval/b/swh", "eval/a/group/low", "train/loss/swh"]
    assert metrics_by_name(keys) == {
        "eval/a": ["eval/a/macro", "eval/a/group/low"],
        "eval/b": ["eval/b/swh"],
    }


def test_the_view_is_saved_for_the_runs_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb_workspaces.workspaces as ws

    saved: list[Any] = []

    def save(view: Any) -> Any:
        saved.append(view)
        view._internal_name = "nw1"
        return view

    monkeypatch.setattr(ws.Workspace, "save", save)
    monkeypatch.setattr(ws.Workspace, "url", property(lambda view: f"https://w/{view.project}"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert main(["wandb", str(run_folder(tmp_path / "run")), "name=mine"]) == 0
    assert capsys.readouterr().out == "View: https://w/languages\n"
    (view,) = saved
    assert (view.entity, view.project, view.name) == ("a_team", "languages", "mine")


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        (None, [], "no API key"),
        ("a" * 40, ["nmae=mine"], "Did you mean 'name'?"),
        ("a" * 40, [], "W&B did not take the view"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    options: list[str],
    message: str,
) -> None:
    import wandb_workspaces.workspaces as ws

    def unreachable(view: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(ws.Workspace, "save", unreachable)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    assert main(["wandb", str(run_folder(tmp_path / "run")), *options]) == 2
    assert message in capsys.readouterr().err
