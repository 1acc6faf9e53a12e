"""Settings of the evaluations a run makes of itself (``conf/evaluation``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from marco.errors import ConfigError, nearest
from marco.evaluation.suite.task_set import TaskSet
from marco.languages import canonical

if TYPE_CHECKING:
    from marco.data.documents import Corpus
    from marco.evaluation.suite.places import Place
    from marco.evaluation.sweep import EvaluationSweep
    from marco.tokenizers import Tokenizer


#: `languages` of an evaluation in all languages that its tasks have.
ALL = ["all"]


@dataclass(frozen=True)
class SweepSettings:
    """What is measured, when, and how much of it.

    Attributes:
        likelihood: bits per byte and nats per parallel article of the held-out text.
        lexicon: word translation, four-way multiple choice, from English and to English.
        tasks: name → the tasks of lm-eval, or of marco in its format, that are shown under it.
        every_tokens: also evaluate each time training has passed this many more tokens; null never.
        at_start: evaluate before the first step ("before" in the summary).
        at_end: evaluate after the last step ("after" in the summary).
        items_per_language: lexicon questions a language, in each of the two directions; documents
            a language of each task set that says nothing itself. null: all.
        max_tokens: tokens in one forward of the evaluation (at least one row); null lets the
            device decide.
        row_length: tokens in a row; longer documents are scored in windows that overlap by half.
            null means one forward's; better is the length the model is trained on.
        languages: the languages evaluated; null means all that have held-out text; ``[all]`` also
            the tasks' others.
        seed: draws the lexicon's questions. Keep it, or scores of two runs don't compare.
        data_dir: a folder with the tasks' hub datasets as files; null asks the hub.
        include_path: a folder with tasks of your own, YAML in lm-eval's format.
        minutes_per_task: a task that takes longer is reported as failed; null: as long as it takes,
            as always with several processes, whose clocks may not agree.
        chat_template: render prompts by the tokenizer's chat template.
        option_order: also test whether the model prefers the published order of an item's options,
            as one that has seen the items does.
        ngrams: also look the tasks' documents up in this index of a training text (`marco ngrams`).
    """

    likelihood: bool = True
    lexicon: bool = True
    every_tokens: int | None = None
    at_start: bool = True
    at_end: bool = True
    tasks: dict[str, TaskSet] = field(default_factory=dict)
    items_per_language: int | None = 16
    max_tokens: int | None = None
    row_length: int | None = None
    languages: list[str] | None = None
    seed: int = 0
    data_dir: Path | None = None
    include_path: Path | None = None
    minutes_per_task: float | None = 60
    chat_template: bool = False
    option_order: bool = False
    ngrams: Path | None = None

    def __post_init__(self) -> None:
        """Check every value that can be checked by itself.

        Raises:
            ConfigError: naming the key.
        """
        for key in ("every_tokens", "items_per_language", "max_tokens", "row_length"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"evaluation.{key}={value}: must be at least 1 or null.")
        if self.minutes_per_task is not None and self.minutes_per_task <= 0:
            raise ConfigError(
                f"evaluation.minutes_per_task={self.minutes_per_task}: must be above 0, or null."
            )
        for key in ("data_dir", "include_path", "ngrams"):
            folder = getattr(self, key)
            if folder is not None and not folder.expanduser().is_dir():
                raise ConfigError(f"evaluation.{key}={folder}: there is no such folder.")
        for name, on in {"likelihood": self.likelihood, "lexicon": self.lexicon}.items():
            if on and name in self.tasks:
                raise ConfigError(
                    f"evaluation.tasks.{name} has the name of evaluation.{name}: choose another."
                )
        if self.languages == []:
            raise ConfigError(
                "evaluation.languages=[]: name at least one language, or use null for all; "
                "evaluation=none switches evaluations off."
            )
        if self.languages is not None and self.languages != ALL:
            canonical(self.languages)

    @property
    def enabled(self) -> bool:
        """Whether anything is measured at any time."""
        when = self.at_start or self.at_end or self.every_tokens is not None
        return when and self.measures

    @property
    def measures(self) -> bool:
        """Whether anything is measured."""
        return self.likelihood or self.lexicon or bool(self.tasks)

    @property
    def needs_held_out(self) -> bool:
        """Whether the data's held-out text or languages are part of what is measured."""
        return self.enabled and (self.likelihood or self.lexicon)

    def check(self, languages: Sequence[str]) -> None:
        """Check the settings against the (canonical) languages of the data.

        Raises:
            ConfigError: an evaluated language is not in the data, there is no such task or metric,
                no task has any of the languages, or `ngrams` is no index.
        """
        if self.ngrams is not None:
            from marco.evaluation.contamination.ngram_index import NgramIndex

            NgramIndex(self.ngrams.expanduser())
        wanted = self.measured(languages)
        found = [place for places in self.places().values() for place in places]
        if self.needs_held_out:
            for language in self.chosen(languages):
                if language not in languages:
                    raise ConfigError(
                        f"evaluation.languages: {language} is not a language of the data, which "
                        f"has {', '.join(languages[:12])}{' …' if len(languages) > 12 else ''}."
                        + nearest(language, languages)
                    )
        elif found and wanted is not None and not {p.language for p in found} & set(wanted):
            has = ", ".join(sorted({place.language for place in found}))
            raise ConfigError(
                f"evaluation.tasks measures {has}, and none of these languages is evaluated: "
                "evaluation.languages=[all] takes those that the tasks have."
            )

    def places(self) -> dict[str, list[Place]]:
        """Look up the tasks of each set, without loading any.

        Raises:
            ConfigError: lm-eval is not installed, or it and marco have no task of this name.
        """
        if not self.tasks:
            return {}
        try:
            from marco.evaluation.suite.places import places
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("marco"):
                raise
            raise ConfigError(
                f"evaluation.tasks needs the package {error.name}: "
                'pip install "marco-train[eval]", or choose evaluation=default.'
            ) from error
        return {name: places(name, found, self.include_path) for name, found in self.tasks.items()}

    def chosen(self, languages: Sequence[str]) -> list[str]:
        """Return the canonical codes to evaluate out of the data's ``languages``."""
        if self.languages is None or self.languages == ALL:
            return list(languages)
        return canonical(self.languages)

    def measured(self, languages: Sequence[str]) -> list[str] | None:
        """Return the codes in which tasks are measured; None: all that they have."""
        if self.languages == ALL or not (languages or self.languages):
            return None
        return self.chosen(languages)

    def prepare(self, tokenizer: Tokenizer, corpus: Corpus) -> EvaluationSweep | None:
        """Tokenise what will be scored; None when there is nothing to evaluate."""
        if not self.enabled:
            return None
        from marco.evaluation.sweep import EvaluationSweep

        return EvaluationSweep(self, tokenizer, corpus)
