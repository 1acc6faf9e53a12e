"""The alignment probe: closed forms, packing, plain and fused networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from marco.errors import ConfigError
from marco.evaluation.alignment import Alignment, Probe, embed, profile, retrieval
from marco.evaluation.alignment_plot import alignment_heatmap
from marco.models.attention import packings
from marco.models.kernels import install


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("centred", [True, False])
def test_the_same_embeddings_find_each_other(centred: bool) -> None:
    a = normal(3, 20, 8)
    assert retrieval(a, a, centred).tolist() == [1.0] * 3
    assert retrieval(a, 5 * a, centred).tolist() == [1.0] * 3


@pytest.mark.parametrize("centred", [True, False])
def test_random_embeddings_are_at_chance(centred: bool) -> None:
    found = retrieval(normal(400, 20, 16), normal(400, 20, 16, seed=1), centred)
    # 400 layers of 20 paragraphs, both directions: a standard error below 0.0025
    assert found.mean() == pytest.approx(1 / 20, abs=0.01)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ((10, 60, 65), (3 + 2) / 6),  # backwards the third is nearer to 50 degrees than to 90
        ((10, 68, 62), (1 + 2) / 6),  # and here the second finds the third, the third the second
    ],
)
def test_both_directions_count(other: tuple[int, ...], wanted: float) -> None:
    a, b = (torch.deg2rad(torch.tensor(x, dtype=torch.float64)) for x in ((0, 50, 90), other))
    a, b = (torch.stack([x.cos(), x.sin()], 1)[None] for x in (a, b))
    assert retrieval(a, b, centred=False).item() == pytest.approx(wanted)


def test_equal_embeddings_count_as_one_in_so_many() -> None:
    a = torch.ones(1, 5, 4)
    assert retrieval(a, a, centred=False).item() == pytest.approx(1 / 5)
    assert retrieval(a, a, centred=True).item() == pytest.approx(1 / 5)


def test_a_language_offset_is_taken_off() -> None:
    a = normal(1, 30, 16)
    b = a + 0.3 * normal(1, 30, 16, seed=1)
    one, other = 100 * normal(2, 1, 1, 16, seed=2)
    assert retrieval(a + one, b + other, centred=True) == retrieval(a, b, centred=True)
    assert retrieval(a, b, centred=True).item() > 0.9
    assert retrieval(a + one, b + other, centred=False).item() < 0.7


def network_of(kind: str) -> Any:
    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind.startswith("qwen3"):
            network: Any = Qwen3ForCausalLM(Qwen3Config(head_dim=8, **shape))
        else:
            network = Qwen2ForCausalLM(Qwen2Config(**shape))
    if kind.endswith("fused"):
        install(network, "torch")
    return network.eval()


def embedded(network: Any, texts: list[list[int]], max_tokens: int) -> Tensor:
    def forward(ids: Tensor, positions: Tensor) -> None:
        fused = network.config._attn_implementation == "marco"
        masks = packings(network.config, positions) if fused else None
        network.model(input_ids=ids, attention_mask=masks, position_ids=positions, use_cache=False)

    with torch.no_grad():
        return embed(network.model.layers, forward, texts, 0, max_tokens)


TEXTS = [[(7 * at * at + length) % 63 + 1 for at in range(length)] for length in (1, 9, 4, 30, 17)]


@pytest.mark.parametrize("kind", ["qwen2", "qwen2_fused", "qwen3", "qwen3_fused"])
def test_embeddings_are_means_of_transformers_own_states(kind: str) -> None:
    """One text at a time, of the plain model; ours packed, and of the fused one."""
    plain = network_of(kind.removesuffix("_fused"))
    found = embedded(network_of(kind), TEXTS, 40)
    assert found.shape == (4, len(TEXTS), 32)
    assert found.dtype == torch.float32
    for at, text in enumerate(TEXTS):
        with torch.no_grad():
            states = plain.model(
                input_ids=torch.tensor([[0, *text]]), output_hidden_states=True
            ).hidden_states
        # transformers' last one is behind the norm, ours before it
        for layer, state in enumerate(states[:-1]):
            torch.testing.assert_close(found[layer, at], state[0, 1:].mean(0))
        behind = plain.model.norm(states[-2])
        assert not torch.allclose(found[-1, at], behind[0, 1:].mean(0))


@pytest.mark.parametrize("kind", ["qwen2", "qwen2_fused"])
def test_packing_changes_nothing(kind: str) -> None:
    network = network_of(kind)
    whole = embedded(network, TEXTS, 256)
    for max_tokens in (31, 40):
        torch.testing.assert_close(embedded(network, TEXTS, max_tokens), whole)
    assert not network.model.layers[0]._forward_pre_hooks
    assert not network.model.layers[0]._forward_hooks
    cut = embedded(network, TEXTS, 11)
    torch.testing.assert_close(cut[:, 3:4], embedded(network, [TEXTS[3][:10]], 256))


def encode(texts: Any) -> list[list[int]]:
    return [[ord(letter) % 63 + 1 for letter in text[:60]] for text in texts]


def test_a_probe_of_a_model() -> None:
    probe = Probe.of(["eng", "deu", "swh", "tat"], encode, 0, "26-30")
    network = network_of("qwen2").train()
    said = []

    def forward(ids: Tensor, positions: Tensor) -> None:
        assert not torch.is_grad_enabled()
        assert not network.training
        network.model(input_ids=ids, position_ids=positions, use_cache=False)

    found = probe.run(
        network, network.model.layers, forward, progress=lambda *done: said.append(done)
    )
    assert network.training
    assert [each.language for each in found][:2] == ["deu", "swh"]
    assert said[-1] == (len(found), len(found))
    for each in found:
        assert each.n == 10
        assert len(each.accuracies) == 4
        row = each.row()
        assert (row.metric, row.value, row.n) == ("alignment", max(each.accuracies[1:]), 10)
        assert row.chance == pytest.approx(0.1)
    layers = [
        sum(values) / len(found) for values in zip(*(x.accuracies for x in found), strict=True)
    ]
    assert profile(found) == pytest.approx(layers)


def test_the_same_texts_in_both_languages_are_all_found() -> None:
    probe = Probe.of(["deu"], encode, 0, "26-30")
    twice = Probe(probe.pivot, {"deu": dict(enumerate(probe.pivot))}, 0)
    network = network_of("qwen2")

    def forward(ids: Tensor, positions: Tensor) -> None:
        network.model(input_ids=ids, position_ids=positions, use_cache=False)

    (found,) = twice.run(network, network.model.layers, forward)
    assert found.accuracies == (1.0,) * 4
    assert found.layer == 1


def test_languages_without_paragraphs_are_left_out() -> None:
    assert Probe.of(["eng"], encode, 0).others == {}
    assert list(Probe.of(["eng", "deu"], encode, 0).others) == ["deu"]
    assert len(Probe.of(["deu"], encode, 0).others["deu"]) == 50
    with pytest.raises(ConfigError, match="articles=40"):
        Probe.of(["deu"], encode, 0, "40")


def test_the_heat_map(tmp_path: Any) -> None:
    found = [Alignment("deu", 10, (0.1, 0.5, 0.3)), Alignment("swh", 10, (0.1, 0.2, 0.3))]
    assert alignment_heatmap(tmp_path / "x.png", found)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert not alignment_heatmap(tmp_path / "y.png", [])
