from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from marco.errors import ConfigError
from marco.models import Initialiser, PretrainedModel, QwenModel


def test_vocabulary_is_rounded_up(tiny: QwenModel) -> None:
    assert tiny.build(1000, seed=0).config.vocab_size == 1024


def test_vocabulary_smaller_than_the_tokenizer_is_refused(tiny: QwenModel) -> None:
    small = dataclasses.replace(tiny, vocab_size=64)
    with pytest.raises(ConfigError, match="smaller than the tokenizer's 100"):
        small.build(100, seed=0)


def test_seed_decides_the_weights(tiny: QwenModel) -> None:
    first, again, other = (tiny.build(100, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_initialisation_is_as_configured(tiny: QwenModel) -> None:
    settings = dataclasses.replace(
        tiny, hidden_size=128, initialiser=Initialiser(std=0.05, truncate=2.0, scale_residual=True)
    )
    model = settings.build(512, seed=0)
    # The variance of a normal cut at ±2 std: 1 - 4 φ(2) / (2 Φ(2) - 1).
    phi = math.exp(-2) / math.sqrt(2 * math.pi)
    cut = math.sqrt(1 - 4 * phi / math.erf(math.sqrt(2)))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert torch.all(parameter == 0), name
        elif parameter.ndim == 1:
            assert torch.all(parameter == 1), name
        else:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = 0.05 / math.sqrt(2 * 2) if writes else 0.05
            assert parameter.abs().max() <= 2 * std * 1.0001, name
            assert parameter.std().item() == pytest.approx(std * cut, rel=0.05), name


def test_whole_normal_distribution_when_not_truncated(tiny: QwenModel) -> None:
    settings = dataclasses.replace(tiny, initialiser=Initialiser(truncate=None))
    weight = settings.build(4096, seed=0).get_input_embeddings().weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert weight.abs().max() > 3.5 * 0.02


def test_saved_weights_come_back(tiny: QwenModel, tmp_path: Path) -> None:
    model = tiny.build(100, seed=3)
    model.save_pretrained(tmp_path / "saved")
    settings = PretrainedModel(path=str(tmp_path / "saved"))
    settings.check()
    loaded = settings.build(100, seed=0)
    ids = torch.arange(20)[None]
    assert torch.equal(model(ids).logits, loaded(ids).logits)
    shape = dataclasses.replace(tiny, weights="pretrained", path=str(tmp_path / "saved"))
    assert torch.equal(shape.build(100, seed=0)(ids).logits, loaded(ids).logits)
    other = dataclasses.replace(shape, intermediate_size=96)
    with pytest.raises(ConfigError, match=r"intermediate_size=96, but the weights .* have 64"):
        other.build(100, seed=0)


def test_random_weights_of_a_pretrained_shape(tiny: QwenModel, tmp_path: Path) -> None:
    tiny.build(100, seed=3).save_pretrained(tmp_path)
    fresh = PretrainedModel(path=str(tmp_path), weights="random").build(100, seed=4)
    same = tiny.build(100, seed=4)
    assert torch.equal(fresh.model.embed_tokens.weight, same.model.embed_tokens.weight)


def test_gguf_loads(tmp_path: Path) -> None:
    import gguf

    size, layers, rows = 32, 2, 64
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(rows)
    generator = torch.Generator().manual_seed(0)
    shapes = {"token_embd.weight": (rows, size), "output_norm.weight": (size,)}
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {
            block + "attn_norm.weight": (size,),
            block + "ffn_norm.weight": (size,),
            block + "attn_q.weight": (size, size),
            block + "attn_q.bias": (size,),
            block + "attn_k.weight": (size // 2, size),
            block + "attn_k.bias": (size // 2,),
            block + "attn_v.weight": (size // 2, size),
            block + "attn_v.bias": (size // 2,),
            block + "attn_output.weight": (size, size),
            block + "ffn_gate.weight": (48, size),
            block + "ffn_up.weight": (48, size),
            block + "ffn_down.weight": (size, 48),
        }
    values = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, value in values.items():
        writer.add_tensor(name, value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    settings = PretrainedModel(path=str(path))
    settings.check()
    model = settings.build(rows, seed=0)
    assert model.config.model_type == "qwen2"
    assert torch.equal(model.model.embed_tokens.weight, values["token_embd.weight"])
    gate = model.model.layers[1].mlp.gate_proj.weight
    assert torch.equal(gate, values["blk.1.ffn_gate.weight"])


def test_wrong_places_are_named(tiny: QwenModel, tmp_path: Path) -> None:
    (tmp_path / "qwen").mkdir()
    with pytest.raises(ConfigError, match=r"no such folder\. Did you mean 'qwen'"):
        PretrainedModel(path=str(tmp_path / "qwem")).check()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        PretrainedModel(path=str(tmp_path / "qwen")).check()
    (tmp_path / "qwen" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ConfigError, match="is a 'llama' model; supported: qwen2, qwen3"):
        PretrainedModel(path=str(tmp_path / "qwen")).check()
    (tmp_path / "qwen" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    with pytest.raises(ConfigError, match=r"no \*\.safetensors"):
        PretrainedModel(path=str(tmp_path / "qwen")).check()
    with pytest.raises(ConfigError, match="no such GGUF file"):
        PretrainedModel(path=str(tmp_path / "a.gguf")).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads=4 must be a multiple"),
        ({"hidden_size": 34}, "hidden_size=34 must be a multiple"),
        ({"hidden_size": 12}, "even"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0 must be at least 1"),
        ({"weights": "pretrained"}, "needs model.path"),
    ],
)
def test_impossible_shapes(tiny: QwenModel, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(tiny, **change)


def test_state_dict_is_transformers_own(tiny: QwenModel) -> None:
    model = tiny.build(100, seed=0)
    plain = AutoModelForCausalLM.from_config(model.config)
    assert list(model.state_dict()) == list(plain.state_dict())
