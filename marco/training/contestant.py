"""One side of a comparison of answers: a model, or a file of answers made elsewhere."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from marco.errors import ConfigError, MarcoError
from marco.evaluation.judge.answer_files import Turns, read_answers
from marco.evaluation.judge.questions import Question
from marco.tokenizers.tokenizer import CONFIG_FILE
from marco.training.loading import Loaded, ModelChoice

if TYPE_CHECKING:
    from marco.evaluation.judge.answers import Answering
    from marco.evaluation.scoring import Progress
    from marco.models.kernels import Kernels

log = logging.getLogger(__name__)

_KEYS = re.compile(r"\bmodel\.(path|checkpoint|tokenizer|dtype|device)\b")


@dataclass(frozen=True)
class Contestant:
    """Whose answers are judged (``model`` and ``baseline`` of ``conf/judge.yaml``).

    Attributes:
        path: a model, as `ModelChoice` takes it; None: the answers are in a file.
        answers: a file of answers; None: the model makes them.
        checkpoint: see `ModelChoice`, like the following.
        tokenizer: a folder or hub name; null is the model's own.
        dtype: of the weights.
        device: ``cpu``, ``cuda``, …; null is the GPU where there is one.
    """

    path: str | None = None
    answers: Path | None = None
    checkpoint: int | str | None = None
    tokenizer: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None

    def check(self, key: str, questions: Sequence[Question]) -> None:
        """Raise MarcoError for what can be seen without reading weights.

        Args:
            key: ``model`` or ``baseline``, for messages.
            questions: that a file of answers must answer.
        """
        if self.answers is not None:
            read_answers(self.answers, questions, f"{key}.answers")
        else:
            with _named(key):
                self._choice().check()
            folder = self._vocabulary()
            if folder is not None and not _has_template(folder):
                raise ConfigError(
                    f"{key}.path={self.path} is no chat model: its tokenizer, {folder}, has no "
                    "chat template."
                )

    def enter(self, key: str, questions: Sequence[Question], kernels: Kernels) -> Entrant:
        """Read the weights, or the answers. Raises what `check` and `ModelChoice.load` do."""
        if self.answers is not None:
            name, answers = read_answers(self.answers, questions, f"{key}.answers")
            return Entrant(key, name, answers=answers)
        with _named(key):
            loaded = self._choice().load(kernels)
        return Entrant(
            key, loaded.name, loaded.checkpoint, loaded.step, loaded.tokens, loaded=loaded
        )

    def _vocabulary(self) -> Path | None:
        """The tokenizer's folder: a model's, a run's, or a checkpoint's run's; None of the hub."""
        place = Path(self.tokenizer or self.path or "").expanduser().resolve()
        run = place.parents[1] if (place / "manifest.json").is_file() else place
        folders = (place, run / "tokenizer")
        return next((each for each in folders if (each / CONFIG_FILE).is_file()), None)

    def _choice(self) -> ModelChoice:
        path = self.path or ""
        return ModelChoice(path, self.checkpoint, self.tokenizer, self.dtype, self.device)


@dataclass
class Entrant:
    """A side that is ready to answer.

    Attributes:
        key: ``model`` or ``baseline``.
        name: the model's.
        checkpoint: ``step-…`` of a run's.
        step: optimizer steps so far, of a run's checkpoint.
        tokens: trained on so far, likewise.
        loaded: the model; None of answers from a file, and when it has answered.
        answers: None until it has.
    """

    key: str
    name: str
    checkpoint: str | None = None
    step: int | None = None
    tokens: int | None = None
    loaded: Loaded | None = None
    answers: list[Turns] | None = None

    @property
    def title(self) -> str:
        """The name, with the checkpoint's where it is one."""
        return " · ".join([self.name, *([self.checkpoint] if self.checkpoint else [])])

    def answer(
        self,
        questions: Sequence[Question],
        how: Answering,
        cache: Path,
        progress: Progress | None = None,
    ) -> list[Turns]:
        """Answer every question, then let go of the weights.

        Args:
            questions: those that it was made with.
            how: settings.
            cache: a file for the answers; those that it has of the same weights are not made again.
            progress: called with (answers made, answers in all).

        Raises:
            ConfigError: it is no chat model.
        """
        from marco.evaluation.judge.answers import answer
        from marco.evaluation.lm.cache import RequestCache, model_hash

        if self.answers is not None or self.loaded is None:
            return self.answers or []
        root, tokenizer = self.loaded.root, self.loaded.tokenizer
        network = root.network
        of = (tokenizer.fingerprint, str(root.vocabulary_limit), network.config.to_json_string())
        known = RequestCache(cache, model_hash(network, *of))
        try:
            self.answers = answer(
                network,
                tokenizer.transformers(),
                questions,
                how,
                vocabulary_limit=root.vocabulary_limit,
                cache=known,
                progress=progress,
            )
        except MarcoError as error:
            raise type(error)(f"{self.key} ({self.name}): {error}") from error
        if known.hits:
            log.info("%d answers of %s were known from before.", known.hits, self.name)
        del root, network
        self.loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self.answers


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return bool(config.get("chat_template"))


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Let errors of `ModelChoice` name the keys of this side."""
    try:
        yield
    except MarcoError as error:
        raise type(error)(_KEYS.sub(rf"{key}.\1", str(error))) from error
