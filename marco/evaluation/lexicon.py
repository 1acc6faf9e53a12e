"""Word translation as four-way multiple choice, English to a language and back.

A question is ``English: banana\\nGerman:`` with the options `` Banane`` and three other German
names of the lexicon; the option with the highest log-probability per UTF-8 byte is the model's
answer, so that a short name has no advantage. Chance is one in four.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from marco.data.lexicon import draw_hash, everyday
from marco.evaluation.intervals import wilson
from marco.evaluation.items import Item, content_id
from marco.evaluation.rows import Row
from marco.evaluation.task import Scorer, missing

TASK = "lexicon"
METRICS = ("lexicon_accuracy", "lexicon_from_english", "lexicon_to_english")
OPTIONS = 4
#: Below this many questions in a direction the interval says nothing: the language is absent.
FEWEST = 4
ENGLISH = "en"

Direction = Literal["from_english", "to_english"]

#: CLDR locale → {concept (the code points that CLDR annotates): its name}.
Names = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Speaker:
    """What the lexicon needs to know of a language: English name, group, CLDR locale (or none)."""

    language: str
    name: str
    group: str
    locale: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, its options (each with its leading space), and which of them is right."""

    language: str
    direction: Direction
    prompt: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Four concepts, each as its names in two languages; the ``answer``-th is the one asked."""

    options: tuple[tuple[str, str], ...]
    answer: int


def make_questions(names: Names, speaker: Speaker, count: int | None, seed: int) -> list[Question]:
    """Draw at most ``count`` questions (None: all) in each direction for one language."""
    if speaker.locale is None or speaker.locale == ENGLISH:
        return []
    questions = []
    for choice in draw_choices(names, ENGLISH, speaker.locale, count, seed):
        english, foreign = choice.options[choice.answer]
        questions += [
            Question(
                speaker.language,
                "from_english",
                f"English: {english}\n{speaker.name}:",
                tuple(f" {name}" for _, name in choice.options),
                choice.answer,
            ),
            Question(
                speaker.language,
                "to_english",
                f"{speaker.name}: {foreign}\nEnglish:",
                tuple(f" {name}" for name, _ in choice.options),
                choice.answer,
            ),
        ]
    return questions


def draw_choices(
    names: Names, first: str, second: str, count: int | None, seed: int
) -> list[Choice]:
    """Draw at most ``count`` concepts (None: all), each with three others, for two locales.

    The draw orders concepts by a hash of the seed and the concept alone, so it is the same whatever
    other languages are asked, and languages share their concepts as far as they name them. Only
    everyday names are used: a single word in English (banana, not "man kneeling"), no description
    with punctuation, and not the same word in both languages.
    """
    ours, theirs = names(first), names(second)
    pairs = {
        concept: (ours[concept], theirs[concept])
        for concept, english in names(ENGLISH).items()
        if concept in ours
        and concept in theirs
        and everyday(concept, english, ours[concept], theirs[concept])
    }
    if len(pairs) < OPTIONS:
        return []
    asked = sorted(pairs, key=lambda concept: draw_hash(seed, "asked", concept))[:count]
    others = sorted(pairs, key=lambda concept: draw_hash(seed, "distractor", concept))
    choices = []
    for concept in asked:
        draw = draw_hash(seed, "order", concept)
        wrong = _distractors(pairs, concept, others, draw)
        if len(wrong) < OPTIONS - 1:
            continue
        answer = draw % OPTIONS
        chosen = (*wrong[:answer], concept, *wrong[answer:])
        choices.append(Choice(tuple(pairs[name] for name in chosen), answer))
    return choices


def _distractors(
    pairs: Mapping[str, tuple[str, str]], concept: str, others: Sequence[str], start: int
) -> list[str]:
    """Walk the shuffled concepts from ``start`` for three with names of their own on both sides."""
    seen_first, seen_second = ({name.casefold()} for name in pairs[concept])
    found: list[str] = []
    for step in range(len(others)):
        other = others[(start + step) % len(others)]
        first, second = (name.casefold() for name in pairs[other])
        if first in seen_first or second in seen_second:
            continue
        seen_first.add(first)
        seen_second.add(second)
        found.append(other)
        if len(found) == OPTIONS - 1:
            break
    return found


class LexiconChoice:
    """The task: questions of every language, tokenised once; ``items`` of the last run."""

    name = TASK
    metric = METRICS[0]

    def __init__(
        self,
        names: Names,
        speakers: Sequence[Speaker],
        encode_batch: Callable[[list[str]], list[list[int]]],
        items_per_language: int | None,
        seed: int,
    ) -> None:
        self.items: list[Item] = []
        asked = [speaker for speaker in speakers if speaker.locale != ENGLISH]
        self.languages = {speaker.language: speaker.group for speaker in asked}
        self._locales = {speaker.language: speaker.locale for speaker in asked}
        self._questions = [
            question
            for speaker in asked
            for question in make_questions(names, speaker, items_per_language, seed)
        ]
        prompts = encode_batch([question.prompt for question in self._questions])
        options = encode_batch(
            [option for question in self._questions for option in question.options]
        )
        self._pairs = [
            (prompt, option)
            for index, prompt in enumerate(prompts)
            for option in options[index * OPTIONS : (index + 1) * OPTIONS]
        ]

    def run(self, scorer: Scorer) -> list[Row]:
        """Score every option and count the questions answered right."""
        nats = [float(np.sum(n, dtype=np.float64)) for n in scorer.continuations(self._pairs)]
        outcomes: dict[str, list[tuple[Direction, bool | None]]] = {
            language: [] for language in self.languages
        }
        self.items = []
        for index, question in enumerate(self._questions):
            scores = nats[index * OPTIONS : (index + 1) * OPTIONS]
            right = answered(question, scores)
            outcomes[question.language].append((question.direction, right))
            self.items.append(_item(question, scores, right))
        rows: list[Row] = []
        for language, found in outcomes.items():
            rows += self._rows(language, found)
        return rows

    def _rows(self, language: str, found: Sequence[tuple[Direction, bool | None]]) -> list[Row]:
        group = self.languages[language]
        if self._locales[language] is None:
            return missing(TASK, language, group, METRICS, "the lexicon does not name it")
        if len(found) < 2 * FEWEST:
            return missing(TASK, language, group, METRICS, "too few words in the lexicon")
        if any(right is None for _, right in found):
            return missing(TASK, language, group, METRICS, "the loss is not a finite number")
        rows = []
        for metric, directions in (
            (METRICS[0], ("from_english", "to_english")),
            (METRICS[1], ("from_english",)),
            (METRICS[2], ("to_english",)),
        ):
            marks = [bool(right) for direction, right in found if direction in directions]
            low, high = wilson(sum(marks), len(marks))
            value = sum(marks) / len(marks)
            stderr = math.sqrt(value * (1 - value) / (len(marks) - 1)) if len(marks) > 1 else None
            row = Row(TASK, language, group, metric, value, len(marks), low, high)
            rows.append(row.but(stderr=stderr, chance=1 / OPTIONS))
        return rows


def _item(question: Question, nats: Sequence[float], right: bool | None) -> Item:
    metrics: dict[str, float] = {}
    if right is not None:
        metrics = {f"lexicon_{question.direction}": right, METRICS[0]: right}
    return Item(
        TASK,
        question.language,
        content_id(question.prompt, *question.options),
        {name: float(value) for name, value in metrics.items()},
        target=question.options[question.answer],
        loglikelihoods=tuple(-value for value in nats),
    )


def answered(question: Question, nats: Sequence[float]) -> bool | None:
    """Say whether the right option has the fewest nats per byte; None if a score is not finite.

    Equal scores are decided for the first option; the right one stands at a hashed place, so a
    model that tells no option apart is right one time in four.
    """
    if not all(math.isfinite(value) for value in nats):
        return None
    sizes = [len(option.encode("utf-8")) - 1 for option in question.options]
    per_byte = [value / size for value, size in zip(nats, sizes, strict=True)]
    return per_byte.index(min(per_byte)) == question.answer
