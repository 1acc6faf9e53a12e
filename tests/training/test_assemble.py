from __future__ import annotations

from pathlib import Path

import pytest
import torch

from marco.config import RunSettings, bind_all, compose
from marco.training.assemble import Text, build_module, choose, read_text
from marco.training.context import RunContext

SMALL = (
    "debug=fast",
    "logger=none",
    "data.languages=[swh]",
    "tokenizer.vocab_size=400",
)


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Text:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    return read_text(settings())


def settings(*overrides: str) -> RunSettings:
    return bind_all(compose([*SMALL, *overrides]))


def test_masters_keep_the_rotary_angles_in_fp32(text: Text, tmp_path: Path) -> None:
    context = RunContext(tmp_path, {}, "none", "none", choices={"kernels": "torch"})
    low = build_module(settings("trainer.precision=bf16-master"), text, context)
    high = build_module(settings("trainer.precision=fp32"), text, context)
    assert {p.dtype for p in low.parameters()} == {torch.bfloat16}
    positions = torch.arange(4000)[None]
    hidden = torch.zeros(1, 4000, 1)
    angles = [m.model.network.model.rotary_emb(hidden, positions) for m in (low, high)]
    for ours, theirs in zip(*angles, strict=True):
        assert torch.equal(ours, theirs)
    network = low.model.network
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_gradient_checkpointing_recomputes_pretrained_layers(text: Text, tmp_path: Path) -> None:
    context = RunContext(tmp_path, {}, "none", "none", choices={"kernels": "reference"})
    random = build_module(settings(), text, context)
    random.model.network.save_pretrained(tmp_path / "model")
    text.tokenizer.save(tmp_path / "model")
    run = settings(
        "model=pretrained",
        f"model.path={tmp_path / 'model'}",
        "trainer.gradient_checkpointing=true",
    )
    module = build_module(run, text, context)
    calls = []
    layer = module.model.network.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    ids = torch.arange(8)[None]
    module.model(ids, ids, ids).sum().backward()
    assert len(calls) == 2  # once forward, once again in the backward


def test_choices_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose(settings("kernels=torch"), {}) == {"threads": 3, "kernels": "torch"}
    assert choose(settings(), {"kernels": "torch"})["kernels"] == "torch"
    assert choose(settings("trainer.threads=2"), {})["threads"] == 2
    assert choose(settings("trainer.threads=2"), {"threads": 5})["threads"] == 5
