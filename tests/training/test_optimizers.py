from __future__ import annotations

import pytest
import torch

from marco.errors import ConfigError
from marco.models import QwenModel
from marco.training.master_adamw import MasterAdamW
from marco.training.optimizers import AdamW


def network(architecture: str = "qwen3", tied: bool = True, layers: int = 1) -> torch.nn.Module:
    return QwenModel(
        architecture=architecture,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    ).build(64, seed=0)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_norms_biases_and_embeddings_do_not_decay(architecture: str) -> None:
    model = network(architecture, tied=False)
    decayed, kept = AdamW(lr=1e-3, weight_decay=0.3).groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.3
    assert kept["weight_decay"] == 0.0
    assert all(
        names[id(p)].endswith("proj.weight") or "lm_head" in names[id(p)] for p in decayed["params"]
    )
    expected = {
        name
        for name in names.values()
        if "norm" in name or name.endswith("bias") or "embed_tokens" in name
    }
    assert {names[id(parameter)] for parameter in kept["params"]} == expected


def test_everything_decays_when_nothing_is_excluded() -> None:
    groups = AdamW(lr=1e-3, no_decay=[]).groups(network())
    assert len(groups) == 1


def test_wrong_values() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'embedding'"):
        AdamW(lr=1e-3, no_decay=["embeddings"])
    for wrong in ({"lr": 0.0}, {"lr": 1e-3, "betas": [0.9]}, {"lr": 1e-3, "clip_norm": -1.0}):
        with pytest.raises(ConfigError, match=r"optimizer\."):
            AdamW(**wrong)  # type: ignore[arg-type]


def test_masters_follow_plain_adamw_in_fp32() -> None:
    torch.manual_seed(0)
    start = torch.randn(17, 5).bfloat16()
    low = start.clone().requires_grad_()
    high = start.float().requires_grad_()
    options = {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8}
    ours = MasterAdamW([{"params": [low], "weight_decay": 0.1}], **options)
    torchs = torch.optim.AdamW([{"params": [high], "weight_decay": 0.1}], fused=True, **options)
    for _ in range(20):
        gradient = torch.randn(17, 5).bfloat16()
        low.grad, high.grad = gradient, gradient.float()
        ours.step()
        torchs.step()
    assert torch.equal(ours.state[low]["master"], high.detach())
    assert torch.equal(low.detach(), high.detach().bfloat16())


def test_master_state_survives_a_state_dict() -> None:
    def fresh() -> tuple[torch.Tensor, MasterAdamW]:
        weight = torch.ones(4).bfloat16().requires_grad_()
        return weight, MasterAdamW([{"params": [weight]}], lr=1e-4, betas=(0.9, 0.9), eps=1e-8)

    weight, optimizer = fresh()
    weight.grad = torch.tensor([1.0, -1.0, 2.0, 0.5]).bfloat16()
    optimizer.step()
    other, loaded = fresh()
    loaded.load_state_dict(optimizer.state_dict())
    for key, value in optimizer.state[weight].items():
        assert loaded.state[other][key].dtype == torch.float32
        assert torch.equal(loaded.state[other][key], value)


def scales(settings: AdamW, model: torch.nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = settings.groups(model)
    assert sum(len(group["params"]) for group in groups) == len(names)
    return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}


def test_a_layer_learns_slower_than_the_one_above_and_the_embedding_slowest() -> None:
    model = network(tied=False, layers=3)
    found = scales(AdamW(lr=1e-3, layer_decay=0.5), model)
    for name, scale in found.items():
        expected = {"embed": 0.125, "rs.0.": 0.25, "rs.1.": 0.5}
        assert scale == next((part for key, part in expected.items() if key in name), 1.0), name
    both = scales(AdamW(lr=1e-3, layer_decay=0.5, embedding_lr=3e-3), model)
    assert both.pop("model.embed_tokens.weight") == pytest.approx(3.0)
    assert both.items() < found.items()


def test_by_default_every_rate_is_the_same() -> None:
    assert set(scales(AdamW(lr=1e-3), network(layers=2)).values()) == {1.0}


def test_frozen_parameters_are_in_no_group() -> None:
    model = network(layers=2)
    settings = AdamW(lr=1e-3, freeze=["*embed_tokens*", "model.layers.0.*"])
    frozen = settings.freeze_in(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained = {names[id(p)] for group in settings.groups(model) for p in group["params"]}
    assert {name for name in names.values() if "layers.1." in name} < trained
    assert {name.split(".")[1] for name in trained} == {"layers", "norm"}
    assert not any("layers.0." in name for name in trained)
    untrained = [p for name, p in model.named_parameters() if name not in trained]
    assert frozen == sum(parameter.numel() for parameter in untrained)


def test_freezing_what_is_not_there_or_everything() -> None:
    with pytest.raises(ConfigError, match=r"'model.embed_token.weight' .*model.embed_tokens"):
        AdamW(lr=1e-3, freeze=["model.embed_token.weight"]).freeze_in(network())
    with pytest.raises(ConfigError, match="no parameter to train"):
        AdamW(lr=1e-3, freeze=["*"]).freeze_in(network())
    for wrong in ({"embedding_lr": 0.0}, {"layer_decay": 1.5}, {"layer_decay": 0.0}):
        with pytest.raises(ConfigError, match=r"optimizer\."):
            AdamW(lr=1e-3, **wrong)  # type: ignore[arg-type]
