"""Shows what the model writes in every language, for people to read."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pytorch_lightning as pl

from callbacks.eval_sweep import shard_of
from marco.data.documents import Document
from marco.errors import ConfigError, MarcoError
from marco.evaluation.lm.gathered import gathered
from marco.evaluation.lm.generate import generate
from marco.evaluation.lm.generate_settings import GenerationSettings, left_truncated, text_of
from marco.evaluation.prompts import Prompt, beginning
from marco.evaluation.results.files import replace_file
from marco.evaluation.sweep import Trained
from marco.languages import canonical
from marco.tokenizers import Tokenizer
from marco.tracking.media import log_table
from marco.tracking.pauses import training_paused

log = logging.getLogger(__name__)

FILE = "samples.jsonl"


class Evaluated(Protocol):
    """What the samples need of the run's evaluations."""

    languages: list[str]
    held_out: Mapping[str, Sequence[Document]]
    tokenizer: Tokenizer


class Samples(pl.Callback):  # type: ignore[misc]
    """Lets the model go on from a held-out beginning in every language, with its likeliest tokens.

    The run's folder gets a line a language and time in ``samples.jsonl`` (step, tokens, language,
    prompt, text, how it was written, and whether the text is in another language; null where that
    cannot be told), which ``report.html`` shows; loggers that take tables get ``samples/table``.
    What was written is in the checkpoint. Processes share the work.

    Args:
        every_tokens: also each time training has passed this many more tokens; null never.
        at_end: after the last step.
        languages: null means those that are evaluated; those without held-out text are left out.
        characters: of the beginning that is given, at most.
        max_new_tokens: that are written after it.

    Raises:
        ConfigError: a value out of range, or a language that there is not.
    """

    def __init__(
        self,
        every_tokens: int | None = None,
        at_end: bool = True,
        languages: list[str] | None = None,
        characters: int = 100,
        max_new_tokens: int = 48,
    ) -> None:
        super().__init__()
        for key, value in (
            ("every_tokens", every_tokens),
            ("characters", characters),
            ("max_new_tokens", max_new_tokens),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"callbacks.samples.{key}={value}: at least 1")
        self.every_tokens = every_tokens
        self.at_end = at_end
        self.languages = None if languages is None else canonical(languages)
        self.characters = characters
        self.max_new_tokens = max_new_tokens
        self.records: list[dict[str, Any]] = []
        self._sweep: Evaluated | None = None
        self._prompts: list[Prompt] = []
        self._folder: Path | None = None

    def attach(self, sweep: Evaluated | None, folder: Path) -> None:
        """Take the vocabulary and the held-out text of the run's evaluations, and its folder."""
        self._folder = folder
        self._sweep = sweep
        if sweep is None:
            return
        codes = sweep.languages if self.languages is None else self.languages
        found = [
            beginning(documents[0].text[: 2 * self.characters], code)
            for code in codes
            if (documents := sweep.held_out.get(code))
        ]
        self._prompts = [prompt for prompt in found if prompt.text]

    def state_dict(self) -> dict[str, Any]:
        """Return what was written."""
        return {"records": list(self.records)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up ``state_dict``'s samples."""
        self.records = list(state_dict["records"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Trained, *args: Any) -> None:
        """Sample when the step that just ended crossed the next multiple of every_tokens."""
        every, seen = self.every_tokens, pl_module.tokens_seen
        if every is None or not pl_module.at_boundary:
            return
        if seen // every > max(self._last(), 0) // every:
            self.sample(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Trained) -> None:
        """Sample the trained model, unless this step has just been sampled."""
        seen = pl_module.tokens_seen
        if self.at_end and seen >= pl_module.total_tokens and self._last() < seen:
            self.sample(trainer, pl_module)

    def sample(self, trainer: pl.Trainer, pl_module: Trained) -> list[dict[str, Any]]:
        """Let the model write now and keep it everywhere; empty where there is nothing to go on.

        A model that cannot write is warned of: it is no reason to lose a run. Of several processes
        none goes on alone, so there it is raised.
        """
        if self._sweep is None or not self._prompts:
            return []
        start = time.perf_counter()
        try:
            with (
                training_paused(trainer.callbacks, "sampling"),
                trainer.precision_plugin.val_step_context(),
            ):
                texts = self._write(trainer, pl_module, self._sweep.tokenizer)
        except MarcoError as error:
            if trainer.world_size > 1:
                raise
            log.warning("No samples of what the model writes: %s", error)
            return []
        at = {"step": pl_module.step, "tokens": pl_module.tokens_seen}
        made = [
            {
                **at,
                "language": prompt.language,
                "prompt": prompt.text,
                "text": text,
                "reference": prompt.reference,
                "wrong_language": wrong,
            }
            for prompt, text, wrong in zip(
                self._prompts, texts, _wrong(self._prompts, texts), strict=True
            )
        ]
        self.records += made
        if trainer.is_global_zero:
            seconds = time.perf_counter() - start
            log.info(
                "Samples of %d languages after %s tokens [%.1f s]",
                len(made),
                f"{at['tokens']:,}",
                seconds,
            )
            self._publish(trainer, at)
        return made

    def _write(self, trainer: pl.Trainer, module: Trained, tokenizer: Tokenizer) -> list[str]:
        root: Any = module.model
        network = gathered(root.network, root.backend)
        longest: int = network.config.max_position_embeddings
        count = min(self.max_new_tokens, longest // 2)
        settings = GenerationSettings(count, end=(tokenizer.end_of_text,))
        encoded = tokenizer.encode_batch([prompt.text for prompt in self._prompts])
        made = generate(
            network,
            [left_truncated(ids, longest, count) for ids in encoded],
            settings,
            vocabulary_limit=root.vocabulary_limit,
            shard=shard_of(trainer),
        )
        decoder = tokenizer.transformers()
        return [text_of(tokens, decoder) for tokens in made]

    def _last(self) -> int:
        """Tokens at the last samples; -1 before the first."""
        return int(self.records[-1]["tokens"]) if self.records else -1

    def _publish(self, trainer: pl.Trainer, at: dict[str, int]) -> None:
        log_table(trainer.loggers, "samples/table", pd.DataFrame(self.records), **at)
        if self._folder is None:
            return
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in self.records]
        try:
            replace_file(
                self._folder / FILE,
                lambda beside: beside.write_text("".join(lines), encoding="utf-8"),
            )
        except OSError as error:
            log.warning("Cannot write the samples into %s: %s", self._folder, error)


def _wrong(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[bool | None]:
    """Whether each text is in another language; None where that cannot be told."""
    if importlib.util.find_spec("py3langid") is None:  # of the extra `eval`
        return [None] * len(texts)
    from marco.evaluation.generations.identifier import Identifier

    codes = [prompt.language or "" for prompt in prompts]
    identifier = Identifier(codes)
    return [identifier.wrong(text, code) for text, code in zip(texts, codes, strict=True)]
