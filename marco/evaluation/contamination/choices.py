"""Multiple-choice items whose options are in the prompt, and all the orders of their options."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: "A", "(a)", "B.", "3)": what names an option instead of saying it.
_LABEL = re.compile(r"\(?(?:[A-Za-z]|\d)[).:]?")
#: What may stand between two options in a prompt, in characters.
_LONGEST_LABEL = 16
#: Keys that name options one by one end in these: option_a, mc_answer1, ending0, opa, A.
_FIRSTS = ("A", "a", "1", "0")


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """One question with its options.

    Attributes:
        id: the same for the same item in any run.
        language: canonical code.
        context: the prompt up to the options.
        labels: what stands before each option in the prompt, such as ("\\nA. ", "\\nB. ").
        options: their texts, in the published order.
    """

    id: str
    language: str
    context: str
    labels: tuple[str, ...]
    options: tuple[str, ...]

    def texts(self, limit: int) -> list[str]:
        """Return the options' part of the prompt in each of their orders, the published one first.

        Equal options make some orders equal: each text is there once. Of more than `limit` orders
        the published one and `limit - 1` others are taken, the same ones every time.
        """
        orders: Iterable[Sequence[str]] = itertools.permutations(self.options)
        if len(self.options) > 5:
            orders = itertools.islice(self._random_orders(), 2 * limit)
        first, *others = dict.fromkeys(map(self._text, orders))
        if len(others) >= limit:
            others = random.Random(self.id).sample(others, limit - 1)
        return [first, *others]

    def _text(self, order: Sequence[str]) -> str:
        return "".join(itertools.chain(*zip(self.labels, order, strict=True)))

    def _random_orders(self) -> Iterator[Sequence[str]]:
        yield self.options
        draw = random.Random(self.id)
        while True:
            yield draw.sample(self.options, len(self.options))

    def is_in_numeric_order(self) -> bool:
        """Whether the options are numbers that rise, or fall: any model expects that order."""
        numbers = [_number(option) for option in self.options]
        found = [number for number in numbers if number is not None]
        if len(found) < len(numbers):
            return False
        steps = [second - first for first, second in itertools.pairwise(found)]
        return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def choice_item(
    id: str, language: str, prompt: str, choices: Sequence[str], doc: Mapping[str, Any]
) -> ChoiceItem | None:
    """Find an item's options in its prompt; None where they are not there, one after the other.

    Args:
        id: see `ChoiceItem`.
        language: see `ChoiceItem`.
        prompt: the whole text that the model is asked with.
        choices: what its answers are called, as lm-eval's `doc_to_choice` says: letters, or texts.
        doc: the dataset's row. Where `choices` are letters the texts are looked for in it: a list
            of as many strings, or as many keys that differ in their last character.
    """
    for options in _candidates(choices, doc):
        found = _locate(prompt, options)
        if found is not None:
            context, labels = found
            return ChoiceItem(id, language, context, tuple(labels), tuple(options))
    return None


def _candidates(choices: Sequence[str], doc: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield what may be the options' texts, the likeliest first."""
    count = len(choices)
    if count < 2:
        return
    if not all(_LABEL.fullmatch(choice.strip()) for choice in choices):
        yield _without_labels([choice.strip() for choice in choices])
        return
    for value in _values(doc):
        if isinstance(value, list | tuple) and len(value) == count:
            texts = [text.strip() for text in value if isinstance(text, str)]
            if len(texts) == count and not all(map(_LABEL.fullmatch, texts)):
                yield _without_labels(texts)
    for key in doc:
        stem, last = key[:-1], key[-1:]
        if last in _FIRSTS:
            names = [stem + chr(ord(last) + place) for place in range(count)]
            texts = [str(doc[name]).strip() for name in names if doc.get(name) is not None]
            if len(texts) == count:
                yield texts
    for value in _values(doc):  # options that are digits look like labels
        if isinstance(value, list | tuple) and len(value) == count:
            texts = [str(text).strip() for text in value]
            if all(map(str.isdigit, texts)) and texts != list(choices):
                yield texts


def _values(doc: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the row's values, and those of the tables in it."""
    for value in doc.values():
        yield value
        if isinstance(value, Mapping):
            yield from value.values()


def _without_labels(texts: list[str]) -> list[str]:
    """Take "(A)", "A." and so on off the texts, where every one begins with its own."""
    patterns = (rf"\(?{chr(ord('A') + place)}[).:]\s*" for place in range(len(texts)))
    found = [re.match(pattern, text) for pattern, text in zip(patterns, texts, strict=True)]
    if all(found):
        return [text[match.end() :] for match, text in zip(found, texts, strict=True) if match]
    return texts


def _locate(prompt: str, options: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the prompt before the options, and each option's label; None: they are not there.

    From the end, because a question may contain the words of an option.
    """
    if not all(options):
        return None
    labels: list[str] = []
    end = len(prompt)
    place = -1
    for number, option in enumerate(reversed(options)):
        place = prompt.rfind(option, 0, end)
        if place < 0:
            return None
        if number:
            label = prompt[place + len(option) : end]
            if not label or len(label) > _LONGEST_LABEL:
                return None
            labels.insert(0, label)
        end = place
    start = max(prompt.rfind("\n", 0, place), 0)
    if place - start > _LONGEST_LABEL:  # the question's own line
        start = max(0, place - len(labels[0]))
    # a model's tokens join a space to the word behind it
    start = len(prompt[:start].rstrip())
    return prompt[:start], [prompt[start:place], *labels]


def _number(text: str) -> float | None:
    digits = re.sub(r"[\s,_%$€£°]", "", text)
    try:
        number = float(digits)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
