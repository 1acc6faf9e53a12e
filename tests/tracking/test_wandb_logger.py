from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from PIL import Image
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from marco.tracking import wandb_logger, wandb_service
from marco.tracking.media import log_image, log_table
from marco.tracking.wandb_logger import WandbLogger
from marco.tracking.wandb_settings import Wandb

CONFIG = {"name": "udhr_tiny", "model": {"layers": 2}}


def start(folder: Path, run_id: str | None = None, **settings: Any) -> WandbLogger:
    wanted: dict[str, Any] = {"project": "marco", "group": "udhr_tiny"} | settings
    return WandbLogger(Wandb(**wanted), folder, config=CONFIG, run_id=run_id)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.message
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("marco")
    ]


def test_two_runs_in_one_process_are_two_runs_of_one_group(
    tmp_path: Path, wandb_environment: Any, read_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wandb_environment.setattr(sys, "argv", ["train.py", "tokens=4000", "mix=unimax"])
    picture = tmp_path / "heatmap.png"
    Image.new("RGB", (3, 2)).save(picture)
    frame = pd.DataFrame({"language": ["eng", "tha"], "bits_per_byte": [2.25, 1.5]})
    loggers = []
    for job in range(2):
        logger = start(tmp_path / f"job{job}", tags=["test"])
        loggers.append(logger)
        try:
            assert logger.mode == "offline"
            assert "no API key" in logger.describe()
            logger.log_metrics({"tokens": 100, "train/loss": 2.5 + job}, step=1)
            logger.log_metrics({"tokens": 100, "train/seconds": 0.25}, step=1)
            logger.log_metrics({"tokens": 200, "train/loss": 1.5 + job}, step=2)
            log_table([logger], "eval/table", frame, step=2, tokens=200)
            log_image([logger], "eval/heatmap", picture, step=2, tokens=200)
            logger.log_summary({"macro": {"bits_per_byte": 1.875}})
        finally:
            logger.finish("success")
            logger.finish("success")
    assert loggers[0].run_id != loggers[1].run_id
    assert warnings_of(caplog) == []
    for job, logger in enumerate(loggers):
        records = read_run(tmp_path / f"job{job}")
        (run,) = records["run"]
        assert run["run_id"] == logger.run_id
        assert (run["project"], run["run_group"], run["job_type"]) == (
            "marco",
            "udhr_tiny",
            "train",
        )
        assert run["display_name"] == f"job{job}"
        assert run["tags"] == ["test"]
        assert records["environment"][0]["args"] == ["tokens=4000", "mix=unimax"]
        config = run["config"]["update"]
        assert config["model"] == {"layers": 2}
        assert config["package_versions"]["torch"]
        assert "git_commit" in config
        history = {line["step"]["num"]: line["item"] for line in records["history"]}
        assert {k: v for k, v in history[1].items() if k[0] != "_"} == {
            "tokens": 100,
            "train/loss": 2.5 + job,
            "train/seconds": 0.25,
        }
        assert history[2]["tokens"] == 200
        assert history[2]["eval/table.nrows"] == 2
        assert history[2]["eval/heatmap.width"] == 3
        files = tmp_path / f"job{job}" / "wandb"
        (table,) = (files / "latest-run" / "files").rglob("*.table.json")
        (staged,) = [a["manifest"]["contents"][0]["local_path"] for a in records["artifact"]]
        assert Path(staged).is_relative_to(files)
        assert json.loads(table.read_text())["data"] == [["eng", 2.25], ["tha", 1.5]]
        metrics = {m.get("glob_name"): m.get("step_metric") for m in records["metric"]}
        assert metrics["train/*"] == metrics["eval/*"] == "tokens"
        summary = [line["update"] for line in records["summary"]]
        assert any("macro" in update or "macro.bits_per_byte" in update for update in summary)
        assert [line["exit_code"] for line in records["exit"]] == [0]


def test_dead_server_leaves_an_offline_run(
    tmp_path: Path,
    wandb_environment: pytest.MonkeyPatch,
    read_run: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wandb_environment.setenv("WANDB_MODE", "online")
    wandb_environment.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb_environment.setenv("WANDB_API_KEY", "a" * 40)
    logger = start(tmp_path / "run", run_id="resumed1", init_timeout=1.0)
    logger.log_metrics({"tokens": 100, "train/loss": 2.5}, step=7)
    assert logger.mode == "offline"
    assert logger.run_id == "resumed1"
    logger.finish("failed")
    (warning,) = warnings_of(caplog)
    assert "127.0.0.1:9" in warning
    assert "offline" in warning
    records = read_run(tmp_path / "run")
    assert records["history"][0]["item"]["train/loss"] == 2.5
    assert [line["exit_code"] for line in records["exit"]] == [1]


def test_nonsense_in_the_environment_leaves_an_offline_run(
    tmp_path: Path,
    wandb_environment: pytest.MonkeyPatch,
    read_run: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wandb_environment.setenv("WANDB_MODE", "nonsense")
    wandb_environment.setenv("WANDB_SILENT", "perhaps")
    wandb_environment.setattr(sys, "argv", ["train.py", "+data.hub_token=hunter2"])
    logger = start(tmp_path / "run")
    assert logger.mode == "offline"
    logger.finish("interrupted")
    assert len(warnings_of(caplog)) == 1
    records = read_run(tmp_path / "run")
    assert [line["exit_code"] for line in records["exit"]] == [255]
    assert "environment" not in records
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert files
    assert not any(b"hunter2" in path.read_bytes() for path in files)


def test_a_service_that_hangs_is_given_up_and_the_next_run_gets_another(
    tmp_path: Path,
    wandb_environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wandb_environment.setattr(wandb_logger, "FINISH_GRACE", 1.0)
    logger = start(tmp_path / "run", finish_timeout=0.5)
    logger.log_metrics({"tokens": 100}, step=1)
    for child in psutil.Process().children():
        if child.name().startswith("wandb-core"):
            child.suspend()
    begin = time.perf_counter()
    logger.log_metrics({"tokens": 200}, step=2)
    assert time.perf_counter() - begin < 0.3
    logger.finish("success")
    assert any("TimeoutError" in warning for warning in warnings_of(caplog))
    following = start(tmp_path / "next")
    assert following.mode == "offline"
    following.finish("success")


def test_without_wandb_nothing_happens_but_one_warning(
    tmp_path: Path, wandb_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wandb_environment.setitem(sys.modules, "wandb", None)
    logger = start(tmp_path / "run")
    logger.log_metrics({"tokens": 1}, step=1)
    logger.log_table("eval/table", pd.DataFrame({"a": [1]}), step=1, tokens=1)
    logger.log_image("eval/heatmap", tmp_path / "missing.png", step=1, tokens=1)
    assert logger.mode == "disabled"
    assert logger.experiment is None
    assert logger.describe().startswith("W&B: off")
    logger.finish("success")
    (warning,) = warnings_of(caplog)
    assert "without W&B" in warning
    wandb_environment.undo()


@pytest.mark.parametrize("disabled_by", ["settings", "environment"])
def test_disabled_needs_no_warning(
    tmp_path: Path,
    wandb_environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    disabled_by: str,
) -> None:
    if disabled_by == "environment":
        wandb_environment.setenv("WANDB_MODE", "disabled")
    logger = start(tmp_path / "run", mode="disabled" if disabled_by == "settings" else "auto")
    logger.log_metrics({"tokens": 1}, step=1)
    logger.finish("success")
    assert warnings_of(caplog) == []
    assert not (tmp_path / "run").exists()


def test_other_ranks_start_nothing(tmp_path: Path, wandb_environment: pytest.MonkeyPatch) -> None:
    wandb_environment.setattr(rank_zero_only, "rank", 1)
    wandb_environment.setattr(wandb_service, "open_run", lambda *a, **k: pytest.fail("started"))
    logger = start(tmp_path / "run")
    logger.log_metrics({"tokens": 1}, step=1)
    assert logger.mode == "disabled"


class BrokenRun:
    """A run whose service misbehaves."""

    id = "broken"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.hang = threading.Event()

    def log(self, values: dict[str, float], step: int) -> None:
        if self.error is not None:
            raise self.error
        self.hang.wait(30)

    def finish(self, exit_code: int) -> None:
        raise ValueError("finish is broken, too")


def test_a_call_that_fails_warns_once_a_kind(
    tmp_path: Path, wandb_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = BrokenRun(ConnectionResetError("gone"))
    wandb_environment.setattr(wandb_service, "open_run", lambda *a, **k: run)
    logger = start(tmp_path / "run")
    for step in range(5):
        logger.log_metrics({"tokens": step}, step=step)
    logger.finish("success")
    assert [message.split(":")[1] for message in warnings_of(caplog)] == [
        " ConnectionResetError",
        " ValueError",
    ]


def test_calls_do_not_wait_for_a_service_that_hangs(
    tmp_path: Path, wandb_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = BrokenRun()
    wandb_environment.setattr(wandb_service, "open_run", lambda *a, **k: run)
    wandb_environment.setattr(wandb_logger, "FINISH_GRACE", 0.1)
    logger = start(tmp_path / "run", finish_timeout=0.1)
    begin = time.perf_counter()
    for step in range(6000):
        logger.log_metrics({"tokens": step}, step=step)
    logger.finish("success")
    assert time.perf_counter() - begin < 5
    run.hang.set()
    assert any("stopped answering" in message for message in warnings_of(caplog))
