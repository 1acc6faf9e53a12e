from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn

from callbacks.eval_sweep import EvalSweep
from marco.evaluation.history import read_history
from marco.evaluation.rows import Row
from marco.evaluation.settings import SweepSettings
from marco.evaluation.sweep import EvaluationSweep

TOKENS_PER_STEP = 100


class Module(pl.LightningModule):  # type: ignore[misc]
    """Two micro-batches a step, and the attributes an evaluation reads."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(1, 1)
        self.step = 0
        self.interrupted = False
        self.at_boundary = False
        self.total_tokens = 500
        self.automatic_optimization = False

    @property
    def tokens_seen(self) -> int:
        return self.step * TOKENS_PER_STEP

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.at_boundary = batch_idx % 2 == 1
        self.step += self.at_boundary

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Sweep(EvaluationSweep):
    """Measures how often it was run."""

    def __init__(self, **settings: Any) -> None:
        self.settings = SweepSettings(**settings)
        self.runs = 0
        self.items = {}

    def run(self, model: nn.Module, *, shard: Any = None, progress: Any = None) -> list[Row]:
        self.runs += 1
        progress("likelihood", 1, 2)
        bits = [
            Row("likelihood", "eng", "english", "bits_per_byte", 8.0 / self.runs, 5),
            Row("likelihood", "swh", "low", "bits_per_byte", 9.0 / self.runs, 5),
        ]
        return [*bits, Row("lexicon", "swh", "low", "lexicon_accuracy", None, 0, reason="broke")]


class Shown(Logger):  # type: ignore[misc]
    """Keeps what it is given."""

    name = "shown"
    version = ""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int | None, dict[str, float]]] = []
        self.tables: list[tuple[str, pd.DataFrame]] = []
        self.images: list[tuple[str, Path, int]] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step, metrics))

    def log_table(self, key: str, frame: pd.DataFrame, *, step: int, tokens: int) -> None:
        self.tables.append((key, frame))

    def log_image(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        assert path.read_bytes().startswith(b"\x89PNG")
        self.images.append((key, path, tokens))


class Bar(pl.Callback):  # type: ignore[misc]
    """Keeps what training waited for."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause_training(self, reason: str) -> None:
        self.said.append(reason)

    def evaluation_progress(self, task: str, done: int, total: int) -> None:
        self.said.append(f"{task} {done}/{total}")

    def resume_training(self) -> None:
        self.said.append("on")


def fit(
    callback: EvalSweep, steps: int, module: Module | None = None, **options: Any
) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[callback, *options.pop("extra", [])],
        logger=options.pop("logger", False),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    trainer.fit(module or Module(), torch.utils.data.DataLoader(torch.zeros(2 * steps, 1)))
    return trainer


def short() -> Module:
    module = Module()
    module.total_tokens = TOKENS_PER_STEP
    return module


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def evaluated(callback: EvalSweep) -> list[int]:
    return [evaluation.tokens for evaluation in callback.history]


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"every_tokens": None}, [0, 500]),
        ({"every_tokens": 200}, [0, 200, 400, 500]),
        ({"every_tokens": 150}, [0, 200, 300, 500]),  # crossed at 150, 300, 450
        ({"every_tokens": 250}, [0, 300, 500]),  # 500 is due and the end: once
        ({"every_tokens": 30}, [0, 100, 200, 300, 400, 500]),  # at most once a step
        ({"at_start": False, "every_tokens": 400}, [400, 500]),
        ({"at_end": False, "every_tokens": 400}, [0, 400]),
    ],
)
def test_it_runs_when_it_is_due(
    tmp_path: Path, settings: dict[str, Any], tokens: list[int]
) -> None:
    callback = EvalSweep()
    callback.attach(Sweep(**settings), tmp_path)
    fit(callback, steps=5)
    assert evaluated(callback) == tokens
    assert [evaluation.tokens for evaluation in read_history(tmp_path)] == tokens


def test_what_it_measured_is_shown_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="callbacks.eval_sweep")
    shown, bar, callback = Shown(), Bar(), EvalSweep()
    callback.attach(Sweep(), tmp_path)
    fit(callback, steps=1, module=short(), logger=shown, extra=[bar])
    (first, at_start), (last, at_end) = shown.metrics
    assert (first, last) == (0, 1)
    assert at_start["tokens"] == 0
    assert at_end["tokens"] == 100
    assert at_end["eval/bits_per_byte/swh"] == 4.5
    assert at_end["eval/bits_per_byte/macro"] == 4.25
    assert at_end["eval/bits_per_byte/group/english"] == 4
    assert not any("lexicon" in key for key in at_end)
    assert [key for key, _ in shown.tables] == ["eval/table"] * 2
    assert len(shown.tables[-1][1]) == 6
    path = tmp_path / "plots" / "heatmap.png"
    assert shown.images == [("eval/heatmap", path, 0), ("eval/heatmap", path, 100)]
    assert bar.said == ["evaluating", "likelihood 1/2", "on"] * 2
    assert "Evaluation after 100 tokens: bits per byte 4.250 (worst Swahili" in caplog.text
    lines = (tmp_path / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["language"] == "eng"


def test_table_and_heat_map_can_be_left_out(tmp_path: Path) -> None:
    shown, callback = Shown(), EvalSweep(table=False, heatmap=False)
    callback.attach(Sweep(), tmp_path)
    fit(callback, steps=1, module=short(), logger=shown)
    assert len(shown.metrics) == 2
    assert not shown.tables
    assert not shown.images


def test_a_full_disk_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    shown, callback = Shown(), EvalSweep()
    callback.attach(Sweep(), tmp_path)
    monkeypatch.setattr("marco.evaluation.history.os.replace", full)
    fit(callback, steps=1, module=short(), logger=shown)
    assert evaluated(callback) == [0, 100]
    assert len(shown.metrics) == len(shown.tables) == 2
    assert shown.images == []
    assert "No space left on device" in caplog.text


def test_without_a_sweep_nothing_happens(tmp_path: Path) -> None:
    callback = EvalSweep()
    callback.attach(None, tmp_path)
    fit(callback, steps=1)
    assert callback.history == []
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_neither_repeats_nor_misses_one(tmp_path: Path) -> None:
    killed = EvalSweep()
    killed.attach(Sweep(every_tokens=200, at_end=False), tmp_path)
    fit(killed, steps=3)
    state = json.loads(json.dumps(killed.state_dict()))  # 0 and 200 evaluated, 300 tokens trained
    fit_on = Module()
    fit_on.step = 3

    # what the killed run measured after its checkpoint is measured again, not kept beside
    with (tmp_path / "evaluations.jsonl").open("a", encoding="utf-8") as file:
        stale = {"step": 4, "tokens": 400, **killed.history[0].rows[0].as_dict()}
        file.write(json.dumps(stale) + "\n")

    resumed = EvalSweep()
    sweep = Sweep(every_tokens=200)
    resumed.attach(sweep, tmp_path)
    resumed.load_state_dict(state)
    fit(resumed, steps=2, module=fit_on)
    assert evaluated(resumed) == [0, 200, 400, 500]
    assert sweep.runs == 2
    assert len((tmp_path / "evaluations.jsonl").read_text().splitlines()) == 4 * 3


def test_a_run_that_is_stopped_early_has_no_end_yet(tmp_path: Path) -> None:
    callback = EvalSweep()
    callback.attach(Sweep(), tmp_path)
    fit(callback, steps=3)  # of the five that are its budget
    assert evaluated(callback) == [0]


def test_one_that_was_due_at_the_checkpoint_is_made_up_for(tmp_path: Path) -> None:
    callback = EvalSweep()
    callback.attach(Sweep(every_tokens=200, at_end=False), tmp_path)
    # written at the step of the evaluation, before it ran
    callback.load_state_dict({"due": None, "records": []})
    module = Module()
    module.step = 2
    fit(callback, steps=1, module=module)
    assert evaluated(callback) == [200]
