"""Models unlike those of the hub: fused where that is right, the same numbers either way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models.small_models import SHAPE, VOCABULARY, build
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention, Qwen2DecoderLayer

from marco.models.fused import is_fused, why_not
from marco.models.kernels import Backend, install
from marco.objectives.causal_lm import CausalLanguageModel


def ids() -> Tensor:
    return torch.randint(0, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(1))


def states(network: PreTrainedModel) -> Tensor:
    """Of the last layer or the logits: what the model returns first."""
    with torch.no_grad():
        made: Tensor = network(ids())[0]
    return made


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


def other_layer(network: PreTrainedModel) -> None:
    network.model.layers[1] = build(LlamaConfig(**SHAPE, pad_token_id=None)).model.layers[1]


def layer_of_mine(network: PreTrainedModel) -> None:
    network.model.layers[1].__class__ = type("MyLayer", (Qwen2DecoderLayer,), {})


def attention_of_mine(network: PreTrainedModel) -> None:
    network.model.layers[1].self_attn.__class__ = type("MyAttention", (Qwen2Attention,), {})


def no_layers(network: PreTrainedModel) -> None:
    network.model.layers = nn.ModuleList()


def activation_of_mine(network: PreTrainedModel) -> None:
    network.model.layers[1].mlp.act_fn = nn.Tanh()


UNFUSABLE: dict[str, tuple[PreTrainedConfig, Callable[[PreTrainedModel], None] | None, str]] = {
    "gelu": (Qwen2Config(**SHAPE, hidden_act="gelu"), None, "GELUActivation"),
    "gelu in qwen3": (Qwen3Config(**SHAPE, head_dim=8, hidden_act="gelu"), None, "GELUActivation"),
    "another activation": (Qwen2Config(**SHAPE), activation_of_mine, "Tanh"),
    "dropout": (Qwen2Config(**SHAPE, attention_dropout=0.5), None, "attention_dropout=0.5"),
    "llama": (LlamaConfig(**SHAPE, pad_token_id=None), None, "none for LlamaDecoderLayer"),
    "gpt2": (
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2),
        None,
        "none for GPT2LMHeadModel",
    ),
    "a layer of another kind": (Qwen2Config(**SHAPE), other_layer, "none for LlamaDecoderLayer"),
    "a layer of mine": (Qwen2Config(**SHAPE), layer_of_mine, "none for MyLayer"),
    "attention of mine": (Qwen2Config(**SHAPE), attention_of_mine, "none for MyAttention"),
    "no layers": (Qwen2Config(**SHAPE), no_layers, "no decoder layers"),
}


@pytest.mark.parametrize("name", UNFUSABLE)
@pytest.mark.parametrize("backend", ["torch", "native", "triton"])
def test_what_cannot_be_fused_says_why_and_is_left_alone(backend: Backend, name: str) -> None:
    config, change, words = UNFUSABLE[name]
    network = build(config)
    if change is not None:
        change(network)
    expected = states(network)
    kinds = [type(module) for module in network.modules()]
    reason = why_not(network)
    assert reason is not None
    assert words in reason
    assert reason in install(network, backend)
    assert [type(module) for module in network.modules()] == kinds
    assert not is_fused(network)
    assert torch.equal(states(network), expected)


def layer_norm(network: PreTrainedModel) -> None:
    norm = nn.LayerNorm(SHAPE["hidden_size"])
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(2))
    network.model.layers[0].input_layernorm = copy.deepcopy(norm)
    network.model.layers[1].post_attention_layernorm = norm


def last_norm(network: PreTrainedModel) -> None:
    network.model.norm = nn.LayerNorm(SHAPE["hidden_size"])


def bias(name: str) -> Callable[[PreTrainedModel], None]:
    def add(network: PreTrainedModel) -> None:
        projection = getattr(network.model.layers[0].mlp, name)
        generator = torch.Generator().manual_seed(2)
        projection.bias = nn.Parameter(torch.randn(projection.out_features, generator=generator))

    return add


def mlp_of_mine(network: PreTrainedModel) -> None:
    width = SHAPE["hidden_size"]
    torch.manual_seed(2)
    network.model.layers[0].mlp = nn.Sequential(nn.Linear(width, width), nn.GELU())


def double(module: nn.Module, args: Any, out: Any) -> Any:
    return (2 * out[0], *out[1:]) if isinstance(out, tuple) else 2 * out


def hook(path: str) -> Callable[[PreTrainedModel], None]:
    return lambda network: network.get_submodule(path).register_forward_hook(double) and None


def pre_hook(path: str) -> Callable[[PreTrainedModel], None]:
    def add(network: PreTrainedModel) -> None:
        module = network.get_submodule(path)
        module.register_forward_pre_hook(lambda module, args: (args[0].cos(),))

    return add


def own_forward(path: str) -> Callable[[PreTrainedModel], None]:
    """As Liger and accelerate do it to one module."""

    def add(network: PreTrainedModel) -> None:
        module = network.get_submodule(path)
        plain = module.forward
        module.forward = lambda *args, **kwargs: double(module, args, plain(*args, **kwargs))

    return add


LAYER = "model.layers.0"
MODULES = (
    *(f"{LAYER}.self_attn.{name}_proj" for name in "qkvo"),
    *(f"{LAYER}.mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj", "act_fn")),
    f"{LAYER}.input_layernorm",
    f"{LAYER}.post_attention_layernorm",
    f"{LAYER}.mlp",
    f"{LAYER}.self_attn",
    LAYER,
    "model.norm",
)
CHANGED: dict[str, Callable[[PreTrainedModel], None]] = {
    "LayerNorm in a layer": layer_norm,
    "another last norm": last_norm,
    "bias of gate_proj": bias("gate_proj"),
    "bias of up_proj": bias("up_proj"),
    "another MLP": mlp_of_mine,
    **{f"hook on {path}": hook(path) for path in MODULES},
    **{f"own forward of {path}": own_forward(path) for path in MODULES},
    # The input of these comes as a keyword.
    **{f"pre-hook on {x}": pre_hook(x) for x in MODULES if not x.endswith("self_attn")},
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", CHANGED)
def test_what_others_change_is_not_passed_over(name: str, when: str) -> None:
    reference, fused = build(), build()
    plain = states(reference)
    CHANGED[name](reference)
    if when == "before":
        CHANGED[name](fused)
    install(fused, "torch")
    if when == "after":
        CHANGED[name](fused)
    assert is_fused(fused)
    expected = states(reference)
    assert not torch.allclose(expected, plain, rtol=1e-2)
    assert_same(states(fused), expected)
    # Documents packed in a row go another way through the attention.
    positions = torch.cat([torch.arange(5), torch.arange(7)]).repeat(2, 1)
    with torch.no_grad():
        losses = [
            CausalLanguageModel(network, VOCABULARY, kind)(ids(), positions, ids())
            for network, kind in ((fused, "torch"), (reference, "reference"))
        ]
    assert_same(*losses)


@pytest.mark.parametrize("path", [x for x in MODULES if not x.endswith("act_fn")])
def test_hooks_on_gradients_see_them(path: str) -> None:
    seen: list[list[Tensor]] = []
    for backend in ("reference", "torch"):
        network = build()
        install(network, backend)
        found: list[Tensor] = []
        network.get_submodule(path).register_full_backward_hook(
            lambda module, inputs, outputs, found=found: found.append(outputs[0])
        )
        network(ids())[0].square().sum().backward()
        seen.append(found)
    assert len(seen[0]) == len(seen[1]) == 1
    assert_same(seen[1][0], seen[0][0])


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_hooks_on_a_tied_embedding(backend: Backend) -> None:
    """NEFTune adds its noise in one."""
    positions = torch.arange(12).repeat(2, 1)
    losses = []
    for kind, hooked in ((backend, True), ("reference", True), ("reference", False)):
        network = build(Qwen2Config(**SHAPE, tie_word_embeddings=True))
        install(network, kind)
        if hooked:
            network.model.embed_tokens.register_forward_hook(lambda module, args, out: out.cos())
        with torch.no_grad():
            losses.append(CausalLanguageModel(network, VOCABULARY, kind)(ids(), positions, ids()))
    assert_same(losses[0], losses[1])
    assert not torch.allclose(losses[1], losses[2], rtol=1e-2)


@pytest.mark.parametrize("backend", ["torch", "native", "triton"])
def test_a_model_without_a_head_is_fused(backend: Backend) -> None:
    network = build().model
    expected = states(network)
    assert install(network, backend) == f"Kernels: {backend}, 2 fused layers."
    assert is_fused(network)
    assert_same(states(network), expected)


def test_dropout_goes_on_in_what_is_not_fused() -> None:
    network = build(Qwen2Config(**SHAPE, attention_dropout=0.5))
    install(network, "torch")
    model = CausalLanguageModel(network, VOCABULARY, "torch").train()
    positions = torch.arange(12).repeat(2, 1)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(model(ids(), positions, ids()))
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2], rtol=1e-3)


def test_dropout_that_comes_later_is_refused() -> None:
    network = build()
    install(network, "torch")
    for layer in network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model = CausalLanguageModel(network, VOCABULARY, "torch")
    positions = torch.arange(12).repeat(2, 1)
    model.eval()(ids(), positions, ids())
    with pytest.raises(ValueError, match=r"attention_dropout=0\.5"):
        model.train()(ids(), positions, ids())
