"""Word translation among four, any language with a CLDR locale into any other.

The questions between English and another language are those of `marco.evaluation.lexicon`.
"""

from __future__ import annotations

import datasets

from marco.data.lexicon import names
from marco.errors import DataError
from marco.evaluation.lexicon import draw_choices
from marco.languages import Language, get

#: Questions of a direction, and examples.
QUESTIONS = 32
EXAMPLES = 8

SEED = 0


def documents(source: str, target: str, **_: object) -> dict[str, datasets.Dataset]:
    """Return the questions of one direction: `test`, and `train` with others.

    Args:
        source: the language translated from, as `marco.languages.get` understands it.
        target: the language translated into.

    Raises:
        DataError: the lexicon has too few words of one of them.
    """
    one, other = get(source), get(target)
    questions = []
    for choice in draw_choices(names, _locale(one), _locale(other), QUESTIONS + EXAMPLES, SEED):
        questions.append(
            {
                "source_name": one.name,
                "target_name": other.name,
                "word": choice.options[choice.answer][0],
                "choices": [theirs for _, theirs in choice.options],
                "answer": choice.answer,
            }
        )
    if len(questions) < 2 * EXAMPLES:
        raise DataError(f"The CLDR lexicon has too few words in both {one.name} and {other.name}.")
    return {
        "test": datasets.Dataset.from_list(questions[:-EXAMPLES]),
        "train": datasets.Dataset.from_list(questions[-EXAMPLES:]),
    }


def _locale(language: Language) -> str:
    if language.cldr is None:
        raise DataError(f"The CLDR lexicon has no {language.name} ({language.code}).")
    return language.cldr
