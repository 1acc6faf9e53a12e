"""FLORES-200 in lm-eval's format: pairs out of two languages' files, and scores of translations.

Read by the YAML files beside it, through lm-eval alone: nothing of marco is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sacrebleu
from datasets import Dataset
from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
from sacrebleu.utils import SACREBLEU_DIR

log = logging.getLogger("marco.flores")

#: Of every sentence: the reference and the translation.
Pairs = Sequence[tuple[str, str]]


def pairs(rows: Dataset) -> Dataset:
    """Join the rows of two languages, those of the source first, into ``{id, source, target}``.

    FLORES-200 has a column ``sentence``, FLORES+ ``text``.

    Raises:
        ValueError: a sentence is not there once in each language.
    """
    column = "sentence" if "sentence" in rows.column_names else "text"
    sentences: dict[int, list[str]] = {}
    for number, sentence in zip(rows["id"], rows[column], strict=True):
        sentences.setdefault(number, []).append(sentence)
    single = [number for number, found in sentences.items() if len(found) != 2]
    if single:
        raise ValueError(
            f"{len(single)} of {len(sentences)} sentences are not once in each of the two files, "
            f"the first with id {single[0]}"
        )
    return Dataset.from_list(
        [
            {"id": number, "source": source, "target": target}
            for number, (source, target) in sentences.items()
        ]
    )


def scored(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return what each metric needs of one sentence; without spBLEU where its model is absent."""
    metrics = ["bleu", "chrf++", *(["spbleu"] if _has_spbleu() else [])]
    return dict.fromkeys(metrics, (doc["target"], results[0]))


def bleu_zh(items: Pairs) -> float:
    """Corpus BLEU over Chinese characters, other words as they are (sacrebleu's ``zh``)."""
    return _bleu(items, "zh")


def bleu_char(items: Pairs) -> float:
    """Corpus BLEU over characters, for scripts without spaces between words."""
    return _bleu(items, "char")


def spbleu(items: Pairs) -> float:
    """Corpus BLEU over the pieces of FLORES-200's SentencePiece model, the same for all."""
    return _bleu(items, "flores200")


def _bleu(items: Pairs, tokenizer: str) -> float:
    references, translations = zip(*items, strict=True)
    return float(sacrebleu.corpus_bleu(translations, [references], tokenize=tokenizer).score)


@lru_cache(maxsize=1)
def _has_spbleu() -> bool:
    model = Path(SACREBLEU_DIR) / "models" / Path(SPM_MODELS["flores200"]["url"]).name
    if model.is_file() and find_spec("sentencepiece") is not None:
        return True
    log.warning(
        "spBLEU is left out: it needs the package sentencepiece and the model %s, from %s.",
        model,
        SPM_MODELS["flores200"]["url"],
    )
    return False
