"""The evaluation sweep: every task over every language, prepared once and run many times."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from marco.data.lexicon import names
from marco.errors import ConfigError
from marco.evaluation.items import Item
from marco.evaluation.lexicon import LexiconChoice, Speaker
from marco.evaluation.likelihood import Likelihood
from marco.evaluation.progress import ProgressBar
from marco.evaluation.reference import xz_reference
from marco.evaluation.rows import Row
from marco.evaluation.scoring import ALONE, Nats, Shard, score_continuations, score_documents
from marco.evaluation.settings import SweepSettings
from marco.evaluation.task import Scorer, Task, missing
from marco.languages import get

if TYPE_CHECKING:
    from marco.data.documents import Corpus
    from marco.evaluation.lm.cache import RequestCache
    from marco.evaluation.lm.model import MarcoLM
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

#: Tokens in one forward of held-out text, where the settings leave it open.
MAX_TOKENS = 4096

#: Called with the task's name, the tokens scored and the tokens in all.
Progress = Callable[[str, int, int], None]


class Trained(Protocol):
    """What an evaluation during training reads off the LightningModule."""

    #: Tokens trained on so far, over all processes.
    tokens_seen: int
    #: The budget, in the unit of ``tokens_seen``: there, training is at its end.
    total_tokens: int
    #: Optimizer steps made so far.
    step: int
    #: Whether the batch that just ended also ended an optimizer step.
    at_boundary: bool
    #: Whether somebody asked the run to stop.
    interrupted: bool
    #: The root module, ``forward(input_ids, position_ids, labels)`` → nats of every token.
    model: nn.Module


class EvaluationSweep:
    """The tasks of a run, tokenised once.

    ``languages`` are the codes evaluated: all with held-out text, or those the settings name.
    ``tasks`` may be extended before the first run. ``items`` are those of the last run, by task,
    ``held_out`` the documents of each language that training does not see.
    """

    def __init__(self, settings: SweepSettings, tokenizer: Tokenizer, corpus: Corpus) -> None:
        self.settings = settings
        self.tasks: list[Task] = []
        self.items: dict[str, list[Item]] = {}
        self._end_of_text = tokenizer.end_of_text
        self.tokenizer = tokenizer
        self._corpus = corpus
        if settings.languages is None:
            self.languages = [code for code, documents in corpus.held_out.items() if documents]
        else:
            self.languages = settings.chosen(list(corpus.held_out))
        self.held_out = {code: corpus.held_out.get(code, []) for code in self.languages}
        speakers = [_speaker(language) for language in self.languages]
        if settings.likelihood:
            groups = {speaker.language: speaker.group for speaker in speakers}
            self.tasks.append(Likelihood(self.held_out, groups, tokenizer.encode_batch))
        if settings.lexicon:
            self.tasks.append(
                LexiconChoice(
                    names,
                    speakers,
                    tokenizer.encode_batch,
                    settings.items_per_language,
                    settings.seed,
                )
            )
        if settings.tasks:
            self.tasks += self._families(settings)

    def _families(self, settings: SweepSettings) -> list[Task]:
        from marco.evaluation.harness.families import Preparation, prepare_family
        from marco.evaluation.lm.model import render_chat

        chat = self._transformers_tokenizer if settings.chat_template else None
        if chat is not None and not chat.chat_template:
            raise ConfigError(
                "evaluation.chat_template=true: the tokenizer has no chat template, so this is no "
                "chat model. evaluation.chat_template=false asks it without one."
            )
        how = Preparation(
            languages=settings.measured(list(self._corpus.held_out or self._corpus.train)),
            items=settings.items_per_language,
            data_dir=settings.data_dir,
            include_path=settings.include_path,
            chat_template=None if chat is None else functools.partial(render_chat, chat),
            tokenizer_name="" if chat is None else chat.name_or_path,
        )
        with ProgressBar("preparing") as bar:
            return [
                prepare_family(name, task_set, how, settings.minutes_per_task, bar)
                for name, task_set in settings.tasks.items()
            ]

    @functools.cached_property
    def _transformers_tokenizer(self) -> Any:
        return self.tokenizer.transformers()

    def run(
        self,
        model: nn.Module,
        *,
        shard: Shard = ALONE,
        progress: Progress | None = None,
        cache: RequestCache | None = None,
    ) -> list[Row]:
        """Run every task on the model and return its rows, the same on every process.

        A task that raises is reported as failed for each of its languages, with the reason, and
        the others still run. With several ranks the error is raised instead: they score in step,
        and one that went on alone would wait for ever. What ``cache`` has of this model (from an
        evaluation that was interrupted, say) is not measured again.
        """
        rows: list[Row] = []
        self.items = {}
        lm = self._language_model(model, shard, cache) if self.settings.tasks else None
        for task in self.tasks:
            if not task.languages:
                continue
            scorer = _ModelScorer(
                model, self._end_of_text, self.settings, shard, _named(progress, task.name), lm
            )
            try:
                keep = shard.rank == 0
                found, self.items[task.name] = self._run_task(task, scorer, cache, keep)
                rows += found
            except Exception as error:
                if shard.size > 1:
                    raise
                reason = f"{type(error).__name__}: {error}"
                log.warning("The evaluation's task %s failed: %s", task.name, reason)
                for language, group in task.languages.items():
                    rows += missing(task.name, language, group, [task.metric], reason)
        return rows

    def _run_task(
        self, task: Task, scorer: Scorer, cache: RequestCache | None, keep: bool
    ) -> tuple[list[Row], list[Item]]:
        """Run a task; marco's own are kept whole, lm-eval's request by request."""
        if task.name in self.settings.tasks:
            return [*task.run(scorer), *self._contamination(task, scorer.lm)], list(task.items)
        if cache is None:
            return task.run(scorer), list(task.items)
        sizes = (self.settings.max_tokens, self.settings.row_length)
        drawn = (self.settings.items_per_language, self.settings.seed, sorted(task.languages))
        key = [task.name, self._corpus.fingerprint(), *sizes, *drawn]
        known = cache.get("task", key)
        if known is None:
            rows = task.run(scorer)
            items = list(task.items)
            kept = {"rows": [r.as_dict() for r in rows], "items": [i.as_dict() for i in items]}
            (cache.put if keep else cache.learn)("task", key, kept)
            return rows, items
        return (
            [Row.from_dict(fields) for fields in known["rows"]],
            [Item.from_dict(fields) for fields in known["items"]],
        )

    def _contamination(self, family: Any, lm: MarcoLM) -> list[Row]:
        option_order, ngrams = self.settings.option_order, self.settings.ngrams
        if not (option_order or ngrams):
            return []
        index = None if ngrams is None else ngrams.expanduser()
        from marco.evaluation.contamination.report import contamination_rows

        return contamination_rows(lm, family.tasks, option_order=option_order, index=index)

    def _language_model(
        self, model: nn.Module, shard: Shard, cache: RequestCache | None
    ) -> MarcoLM:
        from marco.evaluation.lm.gathered import gathered
        from marco.evaluation.lm.model import MarcoLM

        root: Any = model
        return MarcoLM(
            gathered(root.network, root.backend),
            self._transformers_tokenizer,
            vocabulary_limit=root.vocabulary_limit,
            max_tokens=self.settings.max_tokens,
            end_of_text=self._end_of_text,
            shard=shard,
            cache=cache,
        )

    @functools.cached_property
    def reference_xz(self) -> dict[str, float]:
        """Bits per byte of xz primed with a language's training text, of every language."""
        return xz_reference(self._corpus.train, self.held_out)


class _ModelScorer:
    """The model with everything a task need not know: the token budget, the ranks, the progress."""

    def __init__(
        self,
        model: nn.Module,
        end_of_text: int,
        settings: SweepSettings,
        shard: Shard,
        progress: Callable[[int, int], None] | None,
        lm: Any,
    ) -> None:
        self._model = model
        self._end_of_text = end_of_text
        self._settings = settings
        self._shard = shard
        self.progress = progress
        self.lm = lm

    def documents(self, documents: Sequence[Sequence[int]]) -> list[Nats]:
        return score_documents(
            self._model,
            documents,
            self._end_of_text,
            self._settings.max_tokens or MAX_TOKENS,
            row_length=self._settings.row_length,
            shard=self._shard,
            progress=self.progress,
        )

    def continuations(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Nats]:
        return score_continuations(
            self._model,
            pairs,
            self._end_of_text,
            self._settings.max_tokens or MAX_TOKENS,
            row_length=self._settings.row_length,
            shard=self._shard,
            progress=self.progress,
        )


def _named(progress: Progress | None, task: str) -> Callable[[int, int], None] | None:
    return None if progress is None else functools.partial(progress, task)


def _speaker(code: str) -> Speaker:
    language = get(code)
    return Speaker(language.code, language.name, language.group, language.cldr)
