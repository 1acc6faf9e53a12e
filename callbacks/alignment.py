"""Watches languages align: parallel paragraphs are retrieved by each layer's hidden states."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from torch import Tensor

from marco.errors import ConfigError
from marco.evaluation.alignment import ARTICLES, Alignment, Probe, profile
from marco.evaluation.alignment_plot import alignment_heatmap
from marco.evaluation.rows import macro
from marco.evaluation.scoring import IGNORED
from marco.evaluation.sweep import Trained
from marco.languages import canonical
from marco.models.fused import layers_of
from marco.tokenizers import Tokenizer
from marco.tracking.media import log_image
from marco.tracking.pauses import training_paused

log = logging.getLogger(__name__)

FILE = "alignment.jsonl"
HEATMAP = Path("plots/alignment.png")


class Evaluated(Protocol):
    """What the probe needs of the run's evaluations."""

    languages: list[str]
    tokenizer: Tokenizer


class AlignmentProbe(pl.Callback):  # type: ignore[misc]
    """Measures the alignment of every language with English, and of which layer it is best.

    Logged are, of each language, ``align/<language>`` (the accuracy of its best layer) and
    ``align/best_layer/<language>``, their mean ``align/macro``, and ``align/layer/<layer>``, the
    mean over the languages of each layer's accuracy. The run's folder gets a line a language and
    time in ``alignment.jsonl``, and the newest as ``plots/alignment.png``, which loggers that take
    images show. What was measured is in the checkpoint. The measurement is
    ``marco.evaluation.alignment``'s; every process makes all of it.

    Args:
        every_tokens: also measure each time training has passed this many more tokens; null never.
        at_start: measure before the first step.
        at_end: measure after the last step.
        languages: null means those that are evaluated; those without a declaration are left out.
        articles: of the declarations, numbers and ranges.
        centred: take each language's mean embedding off before comparing.
        max_tokens: tokens in one forward; a longer paragraph is cut.

    Raises:
        ConfigError: a value out of range, or a language that there is not.
    """

    def __init__(
        self,
        every_tokens: int | None = None,
        at_start: bool = True,
        at_end: bool = True,
        languages: list[str] | None = None,
        articles: str = ARTICLES,
        centred: bool = True,
        max_tokens: int = 2048,
    ) -> None:
        super().__init__()
        for key, value, least in (("every_tokens", every_tokens, 1), ("max_tokens", max_tokens, 2)):
            if value is not None and value < least:
                raise ConfigError(f"callbacks.alignment.{key}={value}: at least {least}")
        self.every_tokens = every_tokens
        self.at_start = at_start
        self.at_end = at_end
        self.languages = None if languages is None else canonical(languages)
        self.articles = articles
        self.centred = centred
        self.max_tokens = max_tokens
        self.records: list[dict[str, Any]] = []
        self._probe: Probe | None = None
        self._folder: Path | None = None

    def attach(self, sweep: Evaluated | None, folder: Path) -> None:
        """Take the vocabulary and the languages of the run's evaluations, and its folder."""
        self._folder = folder
        if sweep is None:
            log.warning("The alignment probe is off, because evaluations are (evaluation=none).")
            return
        codes = sweep.languages if self.languages is None else self.languages
        tokenizer = sweep.tokenizer
        self._probe = Probe.of(codes, tokenizer.encode_batch, tokenizer.end_of_text, self.articles)

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"records": list(self.records)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up ``state_dict``'s measurements."""
        self.records = list(state_dict["records"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: Trained) -> None:
        """Measure the untrained model, or what was due when the checkpoint was written."""
        if pl_module.tokens_seen == 0:
            if self.at_start and not self.records:
                self.measure(trainer, pl_module)
        elif self._is_due(pl_module.tokens_seen):
            self.measure(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Trained, *args: Any) -> None:
        """Measure when the step that just ended crossed the next multiple of every_tokens."""
        if pl_module.at_boundary and self._is_due(pl_module.tokens_seen):
            self.measure(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Trained) -> None:
        """Measure the trained model, unless this step has just been measured."""
        seen = pl_module.tokens_seen
        if self.at_end and seen >= pl_module.total_tokens and self._last() < seen:
            self.measure(trainer, pl_module)

    def measure(self, trainer: pl.Trainer, pl_module: Trained) -> list[Alignment]:
        """Run the probe now and log it everywhere; empty when there is nothing to measure."""
        if self._probe is None or not self._probe.others:
            return []
        model = pl_module.model
        layers = layers_of(model.network)
        if not layers:
            log.warning("No alignment probe: a %s has no decoder layers.", type(model.network))
            return []

        def forward(ids: Tensor, positions: Tensor) -> None:
            # the whole root module: sharded parameters are gathered there and nowhere else
            model(ids, positions, ids.new_full(ids.shape, IGNORED))

        with (
            training_paused(trainer.callbacks, "aligning"),
            trainer.precision_plugin.val_step_context(),
        ):
            found = self._probe.run(
                model,
                layers,
                forward,
                max_tokens=self.max_tokens,
                centred=self.centred,
            )
        at = {"step": pl_module.step, "tokens": pl_module.tokens_seen}
        self.records += [{**at, **each.as_dict()} for each in found]
        if trainer.is_global_zero:
            self._publish(trainer, found, at)
        return found

    def _last(self) -> int:
        """Tokens at the last measurement; -1 before the first."""
        return int(self.records[-1]["tokens"]) if self.records else -1

    def _is_due(self, tokens: int) -> bool:
        every = self.every_tokens
        return every is not None and tokens // every > max(self._last(), 0) // every

    def _publish(self, trainer: pl.Trainer, found: list[Alignment], at: dict[str, int]) -> None:
        rows = [each.row() for each in found]
        mean = macro(rows, "alignment")
        metrics: dict[str, Any] = {"tokens": at["tokens"], "align/macro": mean}
        for each, row in zip(found, rows, strict=True):
            metrics[f"align/{each.language}"] = row.value
            metrics[f"align/best_layer/{each.language}"] = each.layer
        for layer, value in enumerate(profile(found)):
            metrics[f"align/layer/{layer}"] = value
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=at["step"])
        log.info("Alignment with English at %s tokens: %.3f.", f"{at['tokens']:,}", mean)
        if self._folder is None:
            return
        path = self._folder / HEATMAP
        try:
            lines = [json.dumps(record) + "\n" for record in self.records]
            (self._folder / FILE).write_text("".join(lines), encoding="utf-8")
            alignment_heatmap(path, found)
        except OSError as error:
            log.warning("Cannot write the alignment into %s: %s", self._folder, error)
            return
        log_image(trainer.loggers, "align/heatmap", path, **at)
