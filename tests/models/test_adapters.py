"""Adapters under fused operations beside peft's own on plain transformers."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen3Config

from marco.errors import ConfigError
from marco.models.adapters import LoRA, merge
from marco.models.fused_layers import FusedLinear
from marco.models.kernels import Backend, install
from marco.models.recompute import recompute
from marco.objectives.causal_lm import CausalLanguageModel

SHAPE = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
KINDS = {
    "lora": LoRA(r=4, alpha=6.0),
    "rslora": LoRA(r=4, alpha=6.0, rank_stabilised=True),
    "dora": LoRA(r=4, alpha=6.0, dora=True),
    "some": LoRA(r=2, alpha=5.0, target_modules=["q_proj", "down_proj"]),
}


def plain(architecture: str = "qwen2") -> PreTrainedModel:
    config = {"qwen2": Qwen2Config, "qwen3": Qwen3Config}[architecture](**SHAPE)
    network: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return stirred(network, seed=0)


def stirred(network: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Numbers in every weight that is trained, B of an adapter too, which begins at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.2, generator=generator)
    return network


def batch() -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.randint(0, 67, (2, 21), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], torch.arange(20).expand(2, -1), ids[:, 1:].clone()


def step(model: CausalLanguageModel, upstream: float | None = None) -> dict[str, Tensor]:
    """Losses, and the gradients that there are."""
    losses = model.train()(*batch(), upstream=upstream)
    (losses.sum() * (1.0 if upstream is None else upstream)).backward()
    gradients = {n: p.grad for n, p in model.network.named_parameters() if p.grad is not None}
    return {"losses": losses.detach(), **gradients}


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_peft(kind: str, backend: Backend) -> None:
    settings, architecture = KINDS[kind], "qwen3" if kind == "rslora" else "qwen2"
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        target_modules=settings.target_modules,
        use_rslora=settings.rank_stabilised,
        use_dora=settings.dora,
    )
    theirs = get_peft_model(copy.deepcopy(plain(architecture)), config)
    stirred(theirs, seed=2)
    ids, _, labels = batch()
    logits = theirs(input_ids=ids).logits
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none"
    )
    wanted.sum().backward()

    ours = plain(architecture)
    settings.put_into(ours, seed=0)
    install(ours, backend)
    stirred(ours, seed=2)
    found = step(CausalLanguageModel(ours, 67, backend))
    expected = {
        name.removeprefix("base_model.model."): p.grad
        for name, p in theirs.named_parameters()
        if p.grad is not None
    }
    assert expected.keys() | {"losses"} == found.keys()
    torch.testing.assert_close(found["losses"].flatten(), wanted.detach(), rtol=1e-5, atol=1e-5)
    for name, gradient in expected.items():
        largest = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5 * max(1.0, largest))


@pytest.mark.parametrize("kind", KINDS)
def test_merged_logits_are_those_before(kind: str) -> None:
    network = plain()
    names = [name for name, _ in network.named_parameters()]
    KINDS[kind].put_into(network, seed=0)
    stirred(network, seed=2).eval()
    with torch.no_grad():
        before = network(batch()[0]).logits
        merge(network)
        after = network(batch()[0]).logits
        untouched = plain().eval()(batch()[0]).logits
    assert [name for name, _ in network.named_parameters()] == names
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    assert (after - untouched).abs().max() > 0.1


def test_an_adapter_begins_without_effect_and_from_its_seed() -> None:
    untouched, one, same, other = plain(), plain(), plain(), plain()
    state = torch.get_rng_state()
    for network, seed in ((one, 3), (same, 3), (other, 4)):
        LoRA(r=4).put_into(network, seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one(batch()[0]).logits, untouched(batch()[0]).logits)
    first = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert torch.equal(one.get_parameter(first), same.get_parameter(first))
    assert not torch.equal(one.get_parameter(first), other.get_parameter(first))
    trained = {name for name, p in one.named_parameters() if p.requires_grad}
    assert {name.split(".")[-3] for name in trained} == {"lora_A", "lora_B"}


def test_layers_inside_adapters_are_fused() -> None:
    network = plain()
    LoRA(target_modules=["up_proj"]).put_into(network, 0)
    install(network, "torch")
    mlp = network.model.layers[0].mlp
    assert isinstance(mlp.up_proj.base_layer, FusedLinear)
    assert type(mlp.down_proj) is torch.nn.Linear


@pytest.mark.parametrize("upstream", [None, 0.25])
def test_frozen_weights_change_no_other_gradient(upstream: float | None) -> None:
    every = step(CausalLanguageModel(plain(), 67, "torch"), upstream)
    assert "model.embed_tokens.weight" in every
    network = plain()
    install(network, "torch")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("embed_tokens" not in name and "layers.0" not in name)
    some = step(CausalLanguageModel(network, 67, "torch"), upstream)
    kept = {name for name, p in network.named_parameters() if p.requires_grad}
    assert some.keys() == kept | {"losses"} < every.keys()
    for name, value in some.items():
        torch.testing.assert_close(value, every[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", [True, "selective"])
@pytest.mark.parametrize("adapted", [False, True])
def test_recomputing_changes_no_gradient(which: bool, adapted: bool) -> None:
    def gradients(which: bool) -> tuple[dict[str, Tensor], list[int]]:
        network = plain()
        if adapted:
            LoRA(r=2).put_into(network, 0)
            stirred(network, seed=2)
        recompute(network, which)
        install(network, "torch")
        calls = [0] * len(network.model.layers)
        for place, layer in enumerate(network.model.layers):

            def count(*_: object, place: int = place) -> None:
                calls[place] += 1

            layer.input_layernorm.register_forward_pre_hook(count)
        return step(CausalLanguageModel(network, 67, "torch")), calls

    kept, once = gradients(False)
    again, calls = gradients(which)
    assert once == [1, 1, 1]
    assert calls == ([2, 2, 2] if which is True else [2, 1, 2])
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        torch.testing.assert_close(again[name], value, rtol=1e-6, atol=1e-6)


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'q_proj'"):
        LoRA(target_modules=["q_prj"])
    wrong = ({"r": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"target_modules": []})
    for values in wrong:
        with pytest.raises(ConfigError, match=r"adapter\."):
            LoRA(**values)  # type: ignore[arg-type]
