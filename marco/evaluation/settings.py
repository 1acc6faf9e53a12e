"""Settings of the evaluations a run makes of itself (``conf/evaluation``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marco.errors import ConfigError, nearest
from marco.languages import canonical

if TYPE_CHECKING:
    from marco.data.documents import Corpus
    from marco.evaluation.sweep import EvaluationSweep
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class SweepSettings:
    """What is measured, when, and how much of it.

    Attributes:
        likelihood: bits per byte and nats per parallel article of the held-out text.
        lexicon: word translation, four-way multiple choice, from English and to English.
        every_tokens: also evaluate each time training has passed this many more tokens; null never.
        at_start: evaluate before the first step ("before" in the summary).
        at_end: evaluate after the last step ("after" in the summary).
        items_per_language: lexicon questions a language, in each of the two directions.
        max_tokens: tokens in one forward of the evaluation (at least one row).
        row_length: tokens in a row; longer documents are scored in windows that overlap by half.
            null means ``max_tokens``; better is the length the model is trained on.
        languages: the languages evaluated; null means all that have held-out text.
        seed: draws the lexicon's questions. Keep it, or scores of two runs don't compare.
    """

    likelihood: bool = True
    lexicon: bool = True
    every_tokens: int | None = None
    at_start: bool = True
    at_end: bool = True
    items_per_language: int = 16
    max_tokens: int = 4096
    row_length: int | None = None
    languages: list[str] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value that can be checked by itself.

        Raises:
            ConfigError: naming the key.
        """
        for key in ("every_tokens", "items_per_language", "max_tokens", "row_length"):
            value = getattr(self, key)
            if value is not None and value < 1:
                null = " or null" if key in ("every_tokens", "row_length") else ""
                raise ConfigError(f"evaluation.{key}={value}: must be at least 1{null}.")
        if self.languages is not None:
            if not self.languages:
                raise ConfigError(
                    "evaluation.languages=[]: name at least one language, or use null for all; "
                    "evaluation=none switches evaluations off."
                )
            canonical(self.languages)

    @property
    def enabled(self) -> bool:
        """Whether anything is measured at any time."""
        when = self.at_start or self.at_end or self.every_tokens is not None
        return when and (self.likelihood or self.lexicon)

    def check(self, languages: Sequence[str]) -> None:
        """Check the settings against the (canonical) languages of the data.

        Raises:
            ConfigError: an evaluated language is not in the data.
        """
        for language in self.chosen(languages):
            if language not in languages:
                raise ConfigError(
                    f"evaluation.languages: {language} is not a language of the data."
                    + nearest(language, languages)
                )

    def chosen(self, languages: Sequence[str]) -> list[str]:
        """Return the canonical codes to evaluate out of the data's ``languages``."""
        if self.languages is None:
            return list(languages)
        return canonical(self.languages)

    def prepare(self, tokenizer: Tokenizer, corpus: Corpus) -> EvaluationSweep | None:
        """Tokenise what will be scored; None when there is nothing to evaluate."""
        if not self.enabled:
            return None
        from marco.evaluation.sweep import EvaluationSweep

        return EvaluationSweep(self, tokenizer, corpus)
