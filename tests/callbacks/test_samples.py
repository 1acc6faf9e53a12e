from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from callbacks.samples import FILE, Samples
from marco.errors import CheckpointError, ConfigError
from marco.objectives.causal_lm import CausalLanguageModel


class Module(pl.LightningModule):  # type: ignore[misc]
    """A small model with a window of 32; a step is a batch and 100 tokens."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        config = Qwen2Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = Qwen2ForCausalLM(config)
        self.model = CausalLanguageModel(network, 64, "reference")
        self.step = 0
        self.at_boundary = True
        self.total_tokens = 100 * steps
        self.automatic_optimization = False

    @property
    def tokens_seen(self) -> int:
        return self.step * 100

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.step += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Shown(Logger):  # type: ignore[misc]
    """Keeps the tables that it is given."""

    name = version = "shown"

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[pd.DataFrame] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_table(self, key: str, frame: pd.DataFrame, *, step: int, tokens: int) -> None:
        assert key == "samples/table"
        self.tables.append(frame)

    def log_image(self, *args: Any, **kwargs: Any) -> None: ...


TEXT = "Everyone has the right to education, and it is free at the elementary stages."


def letter(token: int) -> str:
    return chr(96 + token % 26)


def sweep() -> SimpleNamespace:
    document = SimpleNamespace(text=TEXT)
    decoder = SimpleNamespace(decode=lambda ids, **_: "".join(map(letter, ids)))
    return SimpleNamespace(
        languages=["eng", "swh", "yor"],
        held_out={"eng": [document], "swh": [document], "yor": []},
        tokenizer=SimpleNamespace(
            end_of_text=0,
            encode_batch=lambda texts: [[ord(c) % 63 + 1 for c in text] for text in texts],
            transformers=lambda: decoder,
        ),
    )


def fit(callback: Samples, steps: int, folder: Path, *loggers: Logger) -> Module:
    callback.attach(sweep(), folder)
    module = Module(steps)
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=list(loggers),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(steps, 1)))
    return module


def greedy(module: Module, prompt: str, count: int) -> str:
    """The naive way: the whole text through the network for every token."""
    ids = [ord(c) % 63 + 1 for c in prompt][-(32 - count) :]
    made: list[int] = []
    while len(made) < count and (not made or made[-1] != 0):
        logits = module.model.network(torch.tensor([[*ids, *made]])).logits
        made.append(int(logits[0, -1].argmax()))
    return "".join(map(letter, made))


def test_every_language_with_text_is_continued_at_the_end(tmp_path: Path) -> None:
    shown = Shown()
    callback = Samples(characters=20, max_new_tokens=8)
    module = fit(callback, 3, tmp_path, shown)
    assert module.training
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert lines == callback.records
    assert [(line["language"], line["tokens"]) for line in lines] == [("eng", 300), ("swh", 300)]
    for line in lines:
        assert line["prompt"] + line["reference"] == TEXT[:40]
        assert len(line["prompt"]) < 40
        with torch.no_grad():
            assert line["text"] == greedy(module, line["prompt"], 8)
    (table,) = shown.tables
    assert list(table["text"]) == [line["text"] for line in lines]


def test_between_and_once_at_a_step(tmp_path: Path) -> None:
    callback = Samples(every_tokens=200, max_new_tokens=2)
    fit(callback, 4, tmp_path)
    assert [record["tokens"] for record in callback.records] == [200, 200, 400, 400]
    again = Samples(every_tokens=200, max_new_tokens=2)
    again.load_state_dict(callback.state_dict())
    fit(again, 4, tmp_path)
    assert again.records == callback.records


def test_a_small_window_leaves_room_for_the_beginning(tmp_path: Path) -> None:
    callback = Samples(max_new_tokens=1000)
    module = fit(callback, 1, tmp_path)
    with torch.no_grad():
        assert callback.records[0]["text"] == greedy(module, callback.records[0]["prompt"], 16)


def test_a_model_that_cannot_write_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Callable[..., None]:
        raise CheckpointError("no numbers")

    monkeypatch.setattr("callbacks.samples.generate", fails)
    callback = Samples()
    fit(callback, 1, tmp_path)
    assert callback.records == []
    assert "No samples of what the model writes: no numbers" in caplog.text


def test_a_full_disk_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    callback = Samples(max_new_tokens=2)
    fit(callback, 1, tmp_path)
    assert len(callback.records) == 2
    assert "Cannot write the samples" in caplog.text


@pytest.mark.parametrize("key", ["every_tokens", "characters", "max_new_tokens"])
def test_values_out_of_range(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"callbacks\.samples\.{key}=0"):
        Samples(**{key: 0})
