"""Putting kernels in, and asking whether a machine can run them: misuse is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from models.small_models import SHAPE, VOCABULARY, build
from torch import nn
from transformers import GPT2Config, LlamaConfig

from marco.errors import ConfigError
from marco.kernels.torch_path import native
from marco.models import kernels
from marco.models.fused import is_fused
from marco.models.kernels import Backend, Kernels, install
from marco.objectives.causal_lm import CausalLanguageModel


def test_inductor_compiles_what_has_layers() -> None:
    """Nothing is compiled before it is called."""
    assert "GPT2LMHeadModel has no" in install(
        build(GPT2Config(n_embd=32, n_layer=1, n_head=2)), "inductor"
    )
    for network in (build(), build().model, build(LlamaConfig(**SHAPE, pad_token_id=None))):
        assert install(network, "inductor") == "Kernels: inductor, 2 compiled layers."


@pytest.mark.parametrize(
    ("name", "words"),
    [("tritn", "Did you mean 'triton'?"), ("auto", "Kernels().chosen"), ("", "There are triton,")],
)
def test_names_of_no_backend(name: Any, words: str) -> None:
    for asked in (
        lambda: install(build(), name),
        lambda: CausalLanguageModel(build(), VOCABULARY, name),
    ):
        with pytest.raises(ConfigError, match=f"no kernel backend '{name}'") as refused:
            asked()
        assert words in str(refused.value)


@pytest.mark.parametrize("first", ["torch", "inductor"])
@pytest.mark.parametrize("second", ["torch", "native", "triton", "inductor", "reference"])
def test_kernels_are_put_in_once(first: Backend, second: Backend) -> None:
    network = build()
    install(network, first)
    with pytest.raises(ConfigError, match="has kernels already"):
        install(network, second)


def test_triton_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is imported without TRITON_INTERPRET would stay compiled, for the tests that follow.
    install(build(), "triton")
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(kernels, "_has_gpu", lambda: False)
    network = build()
    for accelerator in ("auto", "cpu", "gpu"):
        with pytest.raises(ConfigError, match="kernels=triton needs a GPU"):
            Kernels("triton").check(accelerator)
    with pytest.raises(ConfigError, match="kernels=triton needs a GPU"):
        install(network, "triton")
    assert not is_fused(network)
    install(network.to("meta"), "triton")  # to be counted, not run
    monkeypatch.setattr(kernels, "_has_gpu", lambda: True)
    Kernels("triton").check("auto")
    with pytest.raises(ConfigError, match="kernels=triton needs a GPU"):
        Kernels("triton").check("cpu")


def test_triton_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="package triton"):
        Kernels("triton").check("cpu")


def test_inductor_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "which", lambda name: None)
    monkeypatch.setattr(kernels, "_has_gpu", lambda: False)
    for accelerator in ("auto", "cpu"):
        with pytest.raises(ConfigError, match=r"kernels=inductor compiles C\+\+"):
            Kernels("inductor").check(accelerator)
    with pytest.raises(ConfigError, match=r"kernels=inductor compiles C\+\+"):
        install(build(), "inductor")
    monkeypatch.setattr(kernels, "_has_gpu", lambda: True)
    Kernels("inductor").check("auto")
    with pytest.raises(ConfigError, match=r"kernels=inductor compiles C\+\+"):
        Kernels("inductor").check("cpu")


def test_auto_says_why_it_is_not_native(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(native, "why_not", lambda: None)
    assert Kernels().chosen("cpu") == "native"
    assert not caplog.messages
    monkeypatch.setattr(native, "why_not", lambda: "The folder is full.")
    assert Kernels().chosen("cpu") == "torch"
    assert "The folder is full." in caplog.text
    with pytest.raises(ConfigError, match="The folder is full"):
        Kernels("native").check("cpu")


def test_tuning_without_a_gpu_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for settings in (Kernels("triton", "on"), Kernels("torch")):
        settings.chosen("cuda")
    Kernels("torch").chosen("cpu")
    assert not caplog.messages
    Kernels("torch", "on").chosen("cpu")
    (said,) = caplog.messages
    assert "no GPU here: nothing to tune" in said


def test_heads_that_are_more_than_a_product() -> None:
    network = build()
    network.lm_head.bias = nn.Parameter(torch.ones(VOCABULARY))
    with pytest.raises(ConfigError, match="lm_head has a bias"):
        CausalLanguageModel(network, VOCABULARY, "torch")
    network = build()
    network.lm_head.__class__ = type(
        "Adapter", (nn.Linear,), {"forward": lambda self, x: 2 * nn.Linear.forward(self, x)}
    )
    for backend in ("reference", "torch"):
        with pytest.raises(ConfigError, match="lm_head is of type Adapter"):
            CausalLanguageModel(network, VOCABULARY, backend)
