from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from callbacks.alignment import FILE, HEATMAP, AlignmentProbe
from marco.errors import ConfigError
from marco.models.kernels import install
from marco.objectives.causal_lm import CausalLanguageModel


class Module(pl.LightningModule):  # type: ignore[misc]
    """A small model, two micro-batches of 50 tokens a step, five steps."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        config = Qwen2Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = Qwen2ForCausalLM(config)
        if fused:
            install(network, "torch")
        self.model = CausalLanguageModel(network, 64, "torch" if fused else "reference")
        self.step = 0
        self.at_boundary = False
        self.total_tokens = 500
        self.automatic_optimization = False

    @property
    def tokens_seen(self) -> int:
        return self.step * 100

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.at_boundary = batch_idx % 2 == 1
        self.step += self.at_boundary

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Shown(Logger):  # type: ignore[misc]
    """Keeps what it is given."""

    name = "shown"
    version = ""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, float]] = []
        self.images: list[int] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append({"step": step, **metrics})

    def log_table(self, *args: Any, **kwargs: Any) -> None: ...

    def log_image(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        assert (key, path.read_bytes()[:4]) == ("align/heatmap", b"\x89PNG")
        self.images.append(tokens)


SWEEP = SimpleNamespace(
    languages=["eng", "deu", "swh"],
    tokenizer=SimpleNamespace(
        end_of_text=0,
        encode_batch=lambda texts: [[ord(x) % 63 + 1 for x in text[:40]] for text in texts],
    ),
)


def fit(callback: AlignmentProbe, steps: int, module: Module, *loggers: Logger) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=list(loggers),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(2 * steps, 1)))


@pytest.mark.parametrize("fused", [False, True])
def test_it_measures_at_the_start_between_and_at_the_end(fused: bool, tmp_path: Path) -> None:
    callback = AlignmentProbe(every_tokens=200, articles="26-30")
    callback.attach(SWEEP, tmp_path)
    shown = Shown()
    module = Module(fused)
    fit(callback, 5, module, shown)
    assert module.training
    measured = [metrics for metrics in shown.metrics if "align/macro" in metrics]
    assert [metrics["tokens"] for metrics in measured] == [0, 200, 400, 500]
    assert [metrics["step"] for metrics in measured] == [0, 2, 4, 5]
    assert shown.images == [0, 200, 400, 500]
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["tokens"] for line in lines] == [0, 0, 200, 200, 400, 400, 500, 500]
    assert [line["language"] for line in lines[:2]] == ["deu", "swh"]
    for line in lines[:2]:
        assert len(line["accuracies"]) == 3
        code = line["language"]
        assert measured[0][f"align/{code}"] == max(line["accuracies"][1:])
        assert measured[0][f"align/best_layer/{code}"] == line["layer"]
    last = [line["accuracies"][2] for line in lines[:2]]
    assert measured[0]["align/layer/2"] == pytest.approx(sum(last) / 2)
    assert (tmp_path / HEATMAP).exists()
    # the weights did not change: neither does what is measured
    assert lines[0]["accuracies"] == lines[-2]["accuracies"]


def test_a_resumed_run_neither_repeats_nor_misses_one(tmp_path: Path) -> None:
    first = AlignmentProbe(every_tokens=200, articles="26-30")
    first.attach(SWEEP, tmp_path)
    module = Module()
    fit(first, 3, module)
    second = AlignmentProbe(every_tokens=200, articles="26-30")
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.attach(SWEEP, tmp_path)
    fit(second, 2, module)
    assert [record["tokens"] for record in second.records[::2]] == [0, 200, 400, 500]


def test_only_when_it_is_asked(tmp_path: Path) -> None:
    callback = AlignmentProbe(at_start=False, at_end=False)
    callback.attach(SWEEP, tmp_path)
    fit(callback, 5, Module())
    assert callback.records == []
    assert list(tmp_path.iterdir()) == []


def test_without_evaluations_it_says_that_it_is_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = AlignmentProbe()
    callback.attach(None, tmp_path)
    fit(callback, 1, Module())
    assert "The alignment probe is off" in caplog.text
    assert callback.records == []


def test_wrong_values() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.alignment\.every_tokens=0: at least 1"):
        AlignmentProbe(every_tokens=0)
    with pytest.raises(ConfigError, match="swahilli"):
        AlignmentProbe(languages=["swahilli"])
