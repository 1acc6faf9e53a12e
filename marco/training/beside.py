"""What lies beside weights: the vocabulary, the chat template, how to generate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from marco.errors import DataError
from marco.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer
from marco.training.stored import StoredModel

if TYPE_CHECKING:
    from transformers import GenerationConfig

GENERATION = "generation_config.json"
_TOKENIZER_FILES = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


def copy_beside(model: StoredModel, folder: Path) -> None:
    """Copy a model's tokenizer and chat template, and its generation config or one made for it."""
    for name in _TOKENIZER_FILES:
        if (model.tokenizer / name).is_file():
            shutil.copyfile(model.tokenizer / name, folder / name)
    if (model.files / GENERATION).is_file():
        shutil.copyfile(model.files / GENERATION, folder / GENERATION)
    elif (model.tokenizer / TOKENIZER_FILE).is_file():
        generation_config(model).save_pretrained(folder)


def generation_config(model: StoredModel) -> GenerationConfig:
    """Return how a model generates that nobody has said it of: greedily, up to its end tokens.

    Rows of the embedding that no token has are suppressed, as marco does while it evaluates.
    """
    from transformers import AutoTokenizer, GenerationConfig

    vocabulary = Tokenizer.from_folder(model.tokenizer)
    try:
        loaded = AutoTokenizer.from_pretrained(model.tokenizer, trust_remote_code=False)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise DataError(f"{model.tokenizer}: not a tokenizer: {error}") from error
    ends = {vocabulary.end_of_text, loaded.eos_token_id} - {None}
    unused = list(range(len(vocabulary), model.config.vocab_size))
    padding = loaded.pad_token_id
    return GenerationConfig(
        eos_token_id=sorted(ends),
        pad_token_id=vocabulary.end_of_text if padding is None else padding,
        suppress_tokens=unused or None,
    )
