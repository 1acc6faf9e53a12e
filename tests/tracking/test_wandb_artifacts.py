"""Alerts, artifacts and pages: what is sent, how long it is waited for, and that nothing raises."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from marco.tracking import wandb_logger, wandb_service
from marco.tracking.alerts import alert
from marco.tracking.local import LocalLogger
from marco.tracking.wandb_logger import WandbLogger
from marco.tracking.wandb_settings import Wandb


class Online:
    """A run whose server can be slow or gone."""

    id = "r1"

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.used: list[Any] = []
        self.logged: list[tuple[Any, list[str]]] = []
        self.alerts: list[dict[str, str]] = []
        self.waited: list[int] = []
        self.finished: list[int] = []

    def define_metric(self, *args: Any, **kwargs: Any) -> None: ...

    def alert(self, title: str, text: str, level: str) -> None:
        if self.error is not None:
            raise self.error
        self.alerts.append({"title": title, "text": text, "level": level})

    def use_artifact(self, artifact: Any) -> None:
        self.used.append(artifact)

    def log_artifact(self, artifact: Any, aliases: list[str]) -> Online:
        self.logged.append((artifact, aliases))
        return self

    def wait(self, timeout: int) -> None:
        self.waited.append(timeout)
        time.sleep(self.seconds)

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


@pytest.fixture
def start(tmp_path: Path, wandb_environment: pytest.MonkeyPatch) -> Any:
    def started(run: Online, **settings: Any) -> WandbLogger:
        wandb_environment.setenv("WANDB_API_KEY", "a" * 40)
        wandb_environment.setattr(wandb_service, "open_run", lambda *a, **k: run)
        return WandbLogger(Wandb("marco", **settings), tmp_path / "run", config={})

    return started


def checkpoint(folder: Path, size: int = 3) -> Path:
    (folder / "state").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "state" / "rank-00000.safetensors").write_bytes(b"x" * size)
    return folder


def keep(logger: WandbLogger, path: Path) -> None:
    logger.log_data("f" * 64, {"languages": ["swh"]})
    logger.log_checkpoint(path, ["last", "best"], {"step": 7}, {"languages": {}})


def test_data_is_used_and_the_model_comes_from_the_run(tmp_path: Path, start: Any) -> None:
    run = Online()
    logger = start(run)
    keep(logger, checkpoint(tmp_path / "step-00000007"))
    logger.finish("success")
    (data,) = run.used
    assert (data.type, data.name, list(data.manifest.entries)) == (
        "dataset",
        "data-ffffffffffff",
        ["data.json"],
    )
    ((model, aliases),) = run.logged
    assert (model.type, model.name, aliases) == ("model", "model-r1", ["last", "best"])
    assert model.metadata == {"step": 7}
    assert set(model.manifest.entries) == {
        "ledger.json",
        "manifest.json",
        "state/rank-00000.safetensors",
    }
    entry = model.manifest.entries["manifest.json"]
    assert entry.ref is None
    assert entry.local_path == str(tmp_path / "step-00000007" / "manifest.json")


def test_a_large_checkpoint_is_referenced(tmp_path: Path, start: Any) -> None:
    run = Online()
    logger = start(run, upload_gb=0.000_001)
    keep(logger, checkpoint(tmp_path / "step-00000007", size=2000))
    logger.finish("success")
    ((model, _),) = run.logged
    references = [entry.ref for entry in model.manifest.entries.values() if entry.ref]
    assert references
    assert all(ref.startswith((tmp_path / "step-00000007").as_uri()) for ref in references)


@pytest.mark.parametrize(("artifacts", "kept"), [("auto", 1), ("always", 1), ("never", 0)])
def test_artifacts_are_kept_as_asked(tmp_path: Path, start: Any, artifacts: str, kept: int) -> None:
    run = Online()
    logger = start(run, artifacts=artifacts)
    keep(logger, checkpoint(tmp_path / "step-00000007"))
    logger.finish("success")
    assert len(run.used) == len(run.logged) == kept


def test_offline_keeps_none_by_default(tmp_path: Path, start: Any) -> None:
    run = Online()
    logger = start(run, mode="offline")
    keep(logger, checkpoint(tmp_path / "step-00000007"))
    logger.finish("success")
    assert run.used == run.logged == []


def test_an_upload_gets_its_time_and_no_more(
    tmp_path: Path, start: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_logger, "FINISH_GRACE", 0.1)
    path = checkpoint(tmp_path / "step-00000007")
    patient = Online(seconds=0.5)
    logger = start(patient, finish_timeout=1.0)
    keep(logger, path)
    logger.finish("success")
    assert patient.finished == [0]
    hanging = Online(seconds=30)
    logger = start(hanging, finish_timeout=0.2)
    keep(logger, path)
    begin = time.perf_counter()
    logger.finish("success")
    assert time.perf_counter() - begin < 15
    assert any("TimeoutError" in record.message for record in caplog.records)


def test_an_alert_is_sent_and_kept_and_never_raises(
    tmp_path: Path, start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = Online()
    local = LocalLogger(tmp_path / "run")
    loggers = [object(), local, start(run)]
    alert(loggers, "Retention breach" + "!" * 80, "eng: 1.02 → 1.31 bits per byte", "error")
    alert(loggers, "Run finished", "well", "info")
    loggers[2].finish("success")
    assert run.alerts[0]["title"] == ("Retention breach" + "!" * 80)[:63]
    assert [each["level"] for each in run.alerts] == ["ERROR", "INFO"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "alerts.jsonl").open()]
    assert [line["text"] for line in lines] == ["eng: 1.02 → 1.31 bits per byte", "well"]
    broken = start(Online(error=RuntimeError("no such channel")))
    broken.alert("a", "b")
    broken.finish("success")
    warned = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert [message for message in warned if "no such channel" in message]


def test_alerts_on_a_full_disk_are_only_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    LocalLogger(tmp_path / "file").alert("a", "b")
    assert any("alerts.jsonl" in record.message for record in caplog.records)


def test_the_report_is_shown_unless_it_is_huge(
    tmp_path: Path, wandb_environment: pytest.MonkeyPatch, read_run: Any, caplog: Any
) -> None:
    page, huge = tmp_path / "report.html", tmp_path / "huge.html"
    page.write_text("<!doctype html><title>Ripoti</title>")
    with huge.open("wb") as file:
        file.truncate(int(wandb_logger.PAGE_LIMIT) + 1)
    logger = WandbLogger(Wandb("marco"), tmp_path / "run", config={})
    logger.log_page("report", page, step=3, tokens=300)
    logger.log_page("huge", huge, step=3, tokens=300)
    logger.log_page("missing", tmp_path / "missing.html", step=3, tokens=300)
    logger.finish("success")
    (line,) = read_run(tmp_path / "run")["history"]
    shown = tmp_path / "run" / "wandb" / "latest-run" / "files" / line["item"]["report.path"]
    assert shown.read_text() == page.read_text()
    assert not [key for key in line["item"] if key.startswith(("huge", "missing"))]
    assert any("huge.html" in record.message for record in caplog.records)


def test_a_sweeps_agent_names_the_run(
    tmp_path: Path, wandb_environment: pytest.MonkeyPatch, read_run: Any
) -> None:
    wandb_environment.setenv("WANDB_SWEEP_ID", "sweep123")
    wandb_environment.setenv("WANDB_RUN_ID", "agentrun")
    logger = WandbLogger(Wandb("marco", group="udhr"), tmp_path / "run", config={"seed": 3})
    assert logger.run_id == "agentrun"
    logger.finish("success")
    (run,) = read_run(tmp_path / "run")["run"]
    assert (run["run_id"], run["sweep_id"], run["run_group"]) == ("agentrun", "sweep123", "udhr")
