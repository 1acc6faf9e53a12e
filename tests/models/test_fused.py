"""Whole models with fused operations beside transformers' own: nothing but the speed may differ."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from marco.kernels.launches import LAUNCHES
from marco.models import attention
from marco.models.fused import is_fused
from marco.models.gpu_attention import GpuPacking
from marco.models.kernels import Backend, install
from marco.objectives.causal_lm import CausalLanguageModel

VOCABULARY = 97
ROWS, LENGTH = 2, 24
BACKENDS: tuple[Backend, ...] = ("torch", "native", "triton")
SHARED: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LONG_WINDOW = {"rope_theta": 1e6, "rope_type": "default"}
CONFIGS: dict[str, PreTrainedConfig] = {
    "qwen2": Qwen2Config(**SHARED, tie_word_embeddings=True),
    "qwen2-untied": Qwen2Config(**SHARED, tie_word_embeddings=False),
    "qwen2.5": Qwen2Config(
        **SHARED | {"num_key_value_heads": 1, "rope_parameters": LONG_WINDOW},
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
    ),
    "qwen3": Qwen3Config(**SHARED, head_dim=16, tie_word_embeddings=True),
    "qwen3-untied": Qwen3Config(
        **SHARED | {"num_hidden_layers": 1}, head_dim=16, tie_word_embeddings=False
    ),
    "windows": Qwen2Config(
        **SHARED,
        tie_word_embeddings=True,
        use_sliding_window=True,
        max_window_layers=0,
        sliding_window=8,
    ),
    "some windows": Qwen2Config(
        **SHARED,
        tie_word_embeddings=True,
        use_sliding_window=True,
        max_window_layers=1,
        sliding_window=8,
    ),
}
PACKINGS = {"packed": [[5, 1, 18], [11, 13]], "single": [[LENGTH]] * ROWS}


def build(name: str, backend: Backend = "reference") -> PreTrainedModel:
    """The same weights at every call, gains and biases away from one and zero."""
    network = AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(1.0)
    install(network, backend)
    return network


def batch(packing: str = "packed") -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, positions and labels, a few of which are ignored."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 90, (ROWS, LENGTH + 1), generator=generator)
    rows = [torch.cat([torch.arange(n) for n in lengths]) for lengths in PACKINGS[packing]]
    labels = ids[:, 1:].clone()
    labels[0, 3:5] = -100
    return ids[:, :-1], torch.stack(rows), labels


def losses_and_gradients(
    network: PreTrainedModel, backend: Backend, packing: str = "packed"
) -> dict[str, Tensor]:
    model = CausalLanguageModel(network, VOCABULARY, backend).train()
    losses = model(*batch(packing))
    assert losses.dtype == torch.float32
    upstream = torch.randn(losses.shape, generator=torch.Generator().manual_seed(2))
    model.zero_grad()
    losses.backward(upstream)
    found = {"losses": losses.detach()}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
    return found


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """To 1e-5 of the largest true value."""
    assert ours.keys() == theirs.keys()
    for name, truth in theirs.items():
        assert float(truth.abs().max()) > 0, name
        error = float((ours[name] - truth).abs().max() / truth.abs().max())
        assert error <= 1e-5, f"{name}: {error:.2g}"


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_gradients_and_logits(backend: Backend, name: str, packing: str) -> None:
    reference, fused = build(name), build(name, backend)
    assert is_fused(fused)
    assert_equal(
        losses_and_gradients(fused, backend, packing),
        losses_and_gradients(reference, "reference", packing),
    )
    ids, positions, _ = batch(packing)
    with torch.no_grad():
        ours, theirs = (
            network(input_ids=ids, position_ids=positions).logits for network in (fused, reference)
        )
    assert_equal({"logits": ours}, {"logits": theirs})


@pytest.mark.parametrize("name", ["qwen2", "qwen3-untied"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_stay_what_they_are(backend: Backend, name: str) -> None:
    network = build(name)
    before = dict(network.state_dict(keep_vars=True))
    values = {key: value.detach().clone() for key, value in before.items()}
    install(network, backend)
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[key] is before[key] for key in before)
    assert all(torch.equal(after[key], values[key]) for key in values)


@pytest.mark.parametrize("name", ["qwen2", "qwen3-untied"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_models_are_plain_ones(backend: Backend, name: str, tmp_path: Path) -> None:
    build(name, backend).save_pretrained(tmp_path)
    assert "marco" not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        type(build(name)).__name__
    ]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not is_fused(loaded)
    ids, _, _ = batch()
    assert torch.equal(loaded(ids).logits, build(name)(ids).logits)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_checkpointing(backend: Backend) -> None:
    network = build("qwen3", backend)
    expected = losses_and_gradients(network, backend)
    runs = []
    for number, layer in enumerate(network.model.layers):
        attention = layer.self_attn
        rope = attention.fused.rope

        def counted(*tensors: Tensor, number: int = number, rope: Any = rope) -> Any:
            runs.append(number)
            return rope(*tensors)

        attention.fused = dataclasses.replace(attention.fused, rope=counted)
    network.gradient_checkpointing_enable()
    assert_equal(losses_and_gradients(network, backend), expected)
    assert runs == [0, 1, 1, 0]  # every layer again in the backward


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_torch_compile(name: str) -> None:
    """Of every layer: the Triton ops stay ops in its graph, and are launched as often."""
    network = build(name, "triton")
    LAUNCHES.clear()
    expected = losses_and_gradients(network, "triton")
    launches = LAUNCHES.copy()
    for layer in network.model.layers:
        layer.compile(backend="aot_eager")
    LAUNCHES.clear()
    assert_equal(losses_and_gradients(network, "triton"), expected)
    assert launches == LAUNCHES
    assert {"rope_bwd_kernel", "swiglu_bwd_kernel", "add_rms_norm_bwd_kernel"} <= set(launches)


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "windows", "some windows"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_generation_of_padded_prompts(backend: Backend, name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, VOCABULARY, (2, 11), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    options |= {"output_logits": True, "return_dict_in_generate": True}
    ours, theirs = (
        build(name, kind).eval().generate(ids, attention_mask=mask, **options)
        for kind in (backend, "reference")
    )
    assert torch.equal(ours.sequences, theirs.sequences)
    logits = [torch.stack(made.logits) for made in (ours, theirs)]
    assert_equal({"logits": logits[0]}, {"logits": logits[1]})
    # Padding is out of sight: the first prompt alone goes on as it does in the batch.
    alone = build(name, backend).eval().generate(ids[:1, 4:], **options)
    assert torch.equal(alone.sequences[0, 7:], ours.sequences[0, 11:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_architecture_runs_as_it_is(backend: Backend) -> None:
    config = LlamaConfig(**SHARED, pad_token_id=None)
    network = AutoModelForCausalLM.from_config(config)
    expected = losses_and_gradients(network, "reference")
    kinds = [type(module) for module in network.modules()]
    implementation = network.config._attn_implementation
    assert "none for LlamaDecoderLayer" in install(network, backend)
    assert [type(module) for module in network.modules()] == kinds
    assert network.config._attn_implementation == implementation
    assert not is_fused(network)
    assert_equal(losses_and_gradients(network, backend), expected)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_other_models_of_the_process_are_untouched(name: str) -> None:
    earlier = build(name)
    kinds = [type(module) for module in earlier.modules()]
    expected = losses_and_gradients(earlier, "reference")
    fused = build(name, "triton")
    later = build(name)
    before = LAUNCHES.total()
    for network in (earlier, later):
        assert [type(module) for module in network.modules()] == kinds
        assert network.config._attn_implementation == "sdpa"
        found = losses_and_gradients(network, "reference")
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert LAUNCHES.total() == before
    assert [type(module) for module in fused.modules()] != kinds


class Adapter(nn.Linear):
    """LoRA's shape: a linear layer, and a product of two small ones beside it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        generator = torch.Generator().manual_seed(4)
        down = torch.randn(3, layer.in_features, generator=generator)
        up = torch.randn(layer.out_features, 3, generator=generator)
        self.down, self.up = nn.Parameter(0.2 * down), nn.Parameter(0.2 * up)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.down.T @ self.up.T


@pytest.mark.parametrize(
    ("backend", "projections"),
    [
        *(("torch", [name]) for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
        *(("torch", [name]) for name in ("gate_proj", "up_proj", "down_proj")),
        *((backend, ["q_proj", "gate_proj"]) for backend in BACKENDS),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_adapters_take_part(backend: Backend, projections: list[str], when: str) -> None:
    networks = build("qwen2"), build("qwen2", backend if when == "before" else "reference")
    for network in networks:
        for layer in network.model.layers:
            for name in projections:
                owner = layer.self_attn if hasattr(layer.self_attn, name) else layer.mlp
                setattr(owner, name, Adapter(getattr(owner, name)))
    reference, fused = networks
    if when == "after":
        install(fused, backend)
    expected = losses_and_gradients(reference, "reference")
    plain = losses_and_gradients(build("qwen2"), "reference")
    assert not torch.allclose(expected["losses"], plain["losses"], rtol=1e-2)
    assert_equal(losses_and_gradients(fused, backend), expected)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_triton_runs_every_kernel(name: str) -> None:
    network = build(name, "triton")
    LAUNCHES.clear()
    losses_and_gradients(network, "triton")
    layers = network.config.num_hidden_layers
    # The norms before attention and the head; Qwen3's of queries and keys.
    norms = layers + 1 + (2 * layers if name == "qwen3" else 0)
    counts = {
        "rms_norm": norms,
        "add_rms_norm": layers,
        "rope": layers,
        "swiglu": layers,
    }
    head = {kernel: count for kernel, count in LAUNCHES.items() if "cross_entropy" in kernel}
    assert {kernel: count for kernel, count in LAUNCHES.items() if kernel not in head} == {
        f"{op}_{way}_kernel": count for op, count in counts.items() for way in ("fwd", "bwd")
    }
    assert head["linear_cross_entropy_fwd_kernel"] == 1
    assert head["linear_cross_entropy_bwd_kernel"] >= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation_without_gradients(backend: Backend) -> None:
    limit = 90  # tokens; the rows beyond get no probability
    losses = []
    for kind in ("reference", backend):
        model = CausalLanguageModel(build("qwen3", kind), limit, kind).eval()
        with torch.no_grad():
            losses.append(model(*batch()))
    assert not losses[1].requires_grad
    assert_equal({"losses": losses[1]}, {"losses": losses[0]})
    whole = losses_and_gradients(build("qwen3"), "reference")["losses"]
    assert not torch.allclose(losses[1], whole, rtol=1e-3)


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "some windows"])
def test_layers_take_the_packing_for_gpus(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where FlexAttention has a forward only."""
    monkeypatch.setattr(attention, "Packing", GpuPacking)
    with torch.no_grad():
        ours, theirs = (
            CausalLanguageModel(build(name, kind), VOCABULARY, kind)(*batch())
            for kind in ("torch", "reference")
        )
    assert_equal({"losses": ours}, {"losses": theirs})


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_hidden_states_are_recorded(backend: Backend, name: str) -> None:
    ids, _, _ = batch()
    with torch.no_grad():
        ours, theirs = (
            build(name, kind)(ids, output_hidden_states=True).hidden_states
            for kind in (backend, "reference")
        )
    assert len(ours) == len(theirs) == SHARED["num_hidden_layers"] + 1
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert_equal({f"state {number}": our}, {f"state {number}": their})


@pytest.mark.parametrize("copied_by", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("backend", BACKENDS)
def test_copies_are_fused_and_stand_alone(
    backend: Backend, copied_by: Callable[[PreTrainedModel], PreTrainedModel]
) -> None:
    network = build("qwen3", backend)
    expected = losses_and_gradients(network, backend)
    copied = copied_by(network)
    assert is_fused(copied)
    assert_equal(losses_and_gradients(copied, backend), expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert_equal(losses_and_gradients(network, backend), expected)
