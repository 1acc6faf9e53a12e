"""Weights written in pieces are what transformers reads, and are read as it writes them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from marco.errors import ConfigError, DataError
from marco.models.tensors import weights as weights_module
from marco.models.tensors.config import fitting, read_config, write_config
from marco.models.tensors.folder import appearing
from marco.models.tensors.weights import INDEX, Chunk, Stored, Weights, of_folder
from marco.models.tensors.writing import Layout, shards, write

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pieces even of a small matrix."""
    monkeypatch.setattr(weights_module, "PIECE", 100)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("config", [Qwen2Config, Qwen3Config])
@pytest.mark.parametrize("size", ["5GB", "20KB"])
def test_copied_in_pieces(config: type, tied: bool, size: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = config(**SHAPE, tie_word_embeddings=tied)
    network = AutoModelForCausalLM.from_config(made).eval()
    network.save_pretrained(tmp_path / "in", max_shard_size="9KB")
    assert len(list((tmp_path / "in").glob("*.safetensors"))) > 2
    found = fitting(of_folder(tmp_path / "in"), read_config(tmp_path / "in"))
    layout = {name: Layout(each.dtype, each.shape) for name, each in found.tensors.items()}
    with appearing(tmp_path / "out") as folder:
        write(folder, layout, shards(layout, size), found.pieces)
        write_config(read_config(tmp_path / "in"), torch.float32, folder)
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / INDEX).exists() == (size == "20KB")
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = torch.arange(12)[None]
    assert torch.equal(loaded.eval()(ids).logits, network(ids).logits)
    names = json.loads((tmp_path / "out" / "config.json").read_text())["architectures"]
    assert names == [type(network).__name__]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_safetensors_reads_what_is_written(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(5, 3).to(dtype), "b": torch.randn(7).to(dtype)}
    layout = {name: Layout(dtype, tuple(each.shape)) for name, each in tensors.items()}
    write(tmp_path, layout, shards(layout, "5GB"), lambda name: tensors[name].split(2))
    file = tmp_path / "model.safetensors"
    found = load_file(file)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert struct.unpack("<Q", file.read_bytes()[:8])[0] % 8 == 0


def test_blocks_of_many_files_make_one_tensor(tmp_path: Path) -> None:
    """As processes that share a model write it: along the rows, the columns, or both."""
    whole = torch.arange(42.0).view(6, 7)
    blocks = [(slice(0, 2), slice(0, 7)), (slice(2, 6), slice(0, 4)), (slice(2, 6), slice(4, 7))]
    chunks = []
    for number, (rows, columns) in enumerate(blocks):
        file = tmp_path / f"{number}.safetensors"
        part = whole[rows, columns].contiguous()
        save_file({"w": part}, file)
        chunks.append(Chunk(file, "w", (rows.start, columns.start), tuple(part.shape)))
    found = Weights("x", {"w": Stored(torch.float32, (6, 7), tuple(chunks))})
    with found.open("w") as rows_of:
        assert torch.equal(rows_of(1, 5), whole[1:5])
    assert torch.equal(torch.cat(list(found.pieces("w"))), whole)


def test_a_piece_too_few_is_an_error(tmp_path: Path) -> None:
    layout = {"a": Layout(torch.float32, (4,))}
    with pytest.raises(ValueError, match="8 bytes were made, 16 announced"):
        write(tmp_path, layout, shards(layout, "5GB"), lambda _: [torch.zeros(2)])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has neither model\.safetensors nor"):
        of_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        of_folder(tmp_path)
    save_file({"a": torch.zeros(3, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="a has the type I8"):
        of_folder(tmp_path)
    save_file({"a": torch.tensor(1.0)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"a has the shape \[\]"):
        of_folder(tmp_path)


def test_an_index_is_not_believed(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "x.safetensors")
    index = tmp_path / INDEX
    index.write_text(json.dumps({"weight_map": {"b": "x.safetensors"}}))
    with pytest.raises(DataError, match="has no b, which"):
        of_folder(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(DataError, match="in another folder"):
        of_folder(tmp_path)
    index.write_text(json.dumps(["a"]))
    with pytest.raises(DataError, match="is not an index"):
        of_folder(tmp_path)


def test_weights_that_are_not_their_configs(tmp_path: Path) -> None:
    AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE)).save_pretrained(tmp_path)
    found = of_folder(tmp_path)
    with pytest.raises(DataError, match=r"model\.layers\.2\.\S+ is missing; .* and 9 more"):
        fitting(found, Qwen2Config(**{**SHAPE, "num_hidden_layers": 3}))
    with pytest.raises(DataError, match="is no tensor of its config's model"):
        fitting(found, Qwen2Config(**{**SHAPE, "num_hidden_layers": 1}))
    with pytest.raises(DataError, match=r"shape \[97, 32\], its config says \[98, 32\]"):
        fitting(found, Qwen2Config(**{**SHAPE, "vocab_size": 98}))


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"

    def write_half() -> None:
        with appearing(output) as folder:
            (folder / "half").write_text("")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_half()
    assert list(output.parent.iterdir()) == []
    with appearing(output) as folder:
        (folder / "whole").write_text("")
    assert [path.name for path in output.iterdir()] == ["whole"]
    with pytest.raises(ConfigError, match="exists already"), appearing(output):
        pass


def test_a_size_that_is_none() -> None:
    with pytest.raises(ConfigError, match="max_shard_size=5X"):
        shards({"a": Layout(torch.float32, (4,))}, "5X")
