"""A model to evaluate, with its vocabulary: a run's checkpoint, or a model of transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from marco.config import bind, container, load_config
from marco.config.saved import CONFIG
from marco.data.documents import Corpus
from marco.errors import CheckpointError, ConfigError, MarcoError, nearest
from marco.models.settings import PretrainedModel, check_weights, looks_local
from marco.run_folder import CHECKPOINTS, run_of
from marco.tokenizers import Tokenizer
from marco.tokenizers.pretrained import PretrainedTokenizer
from marco.tokenizers.tokenizer import TOKENIZER_FILE
from marco.training.checkpoint import checkpoints, latest, metrics_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from marco.data.settings import Data
    from marco.models.kernels import Kernels
    from marco.objectives.causal_lm import CausalLanguageModel

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What the best checkpoint of a run has least of.
BEST = "bits_per_byte"


@dataclass(frozen=True)
class Loaded:
    """A model as evaluations take it.

    Attributes:
        root: in evaluation mode, on its device; `root.network` is transformers' model.
        tokenizer: its vocabulary.
        name: ``<experiment>/<run>`` of a run, else the folder's or the hub's name.
        checkpoint: ``step-…`` of a run's; None of other models.
        step: optimizer steps so far, of a run's checkpoint.
        tokens: trained on so far, likewise.
        sequence_length: tokens, likewise.
    """

    root: CausalLanguageModel
    tokenizer: Tokenizer
    name: str
    checkpoint: str | None = None
    step: int | None = None
    tokens: int | None = None
    sequence_length: int | None = None


def weights_of_run(path: str, root: CausalLanguageModel, tokenizer: Tokenizer) -> str | None:
    """Read a run's newest sound checkpoint, or the one that ``path`` is, into ``root``.

    Returns the checkpoint's name; None where ``path`` is no run, and nothing was read.

    Raises:
        CheckpointError: none is sound, or it is of another model or vocabulary.
    """
    from marco.training.checkpoints.loading import load

    run = run_of(path)
    if run is None:
        return None
    place = Path(path).expanduser().resolve()
    found = latest(run / CHECKPOINTS) if place == run else place
    if found is None:
        raise CheckpointError(f"model.path={path}: it has no checkpoint that is sound.")
    load(
        found,
        model=root,
        optimizer=None,
        tokenizer_fingerprint=tokenizer.fingerprint,
        restore_rng=False,
    )
    return f"{run.parent.name}/{run.name}/{found.name}"


@dataclass(frozen=True)
class ModelChoice:
    """Which model (``model`` of ``conf/evaluate.yaml``). No code from its folder is ever executed.

    Attributes:
        path: a run's folder (``runs/last``), one of its ``checkpoints/step-…``, a folder that
            transformers wrote, a .gguf file, or a hub name.
        checkpoint: which of a run's: its step, ``last`` (null: the newest that is sound) or
            ``best`` (least macro bits per byte of those that were measured).
        tokenizer: a folder or hub name; null is the model's own.
        dtype: of the weights.
        device: ``cpu``, ``cuda``, …; null is the GPU where there is one.
    """

    path: str
    checkpoint: int | str | None = None
    tokenizer: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None

    def check(self) -> None:
        """Raise ConfigError or CheckpointError for what can be seen without reading the weights."""
        place = Path(self.path).expanduser()
        if self._is_checkpoint(place):
            if self.checkpoint is not None:
                raise ConfigError(
                    f"model.path={self.path} is one checkpoint already: name its run instead."
                )
        elif (place / CONFIG).is_file():
            self.chosen(place.resolve())
            check_weights(self.path)
        elif self.checkpoint is not None:
            raise ConfigError(
                f"model.checkpoint={self.checkpoint}: model.path={self.path} is no run folder (it "
                f"has no {CONFIG}), so there are no checkpoints to choose from."
            )
        elif place.is_dir() and not (place / "config.json").is_file():
            raise ConfigError(
                f"model.path={self.path} is neither a run (it has no {CONFIG}) nor a model of "
                "transformers (no config.json)."
            )
        else:
            check_weights(self.path)
            self._vocabulary(PretrainedTokenizer.check)

    def load(self, kernels: Kernels) -> Loaded:
        """Read weights and vocabulary; a run's other state is not read.

        Raises:
            ConfigError: nothing is there, or it is neither a run nor a model that can be loaded.
            CheckpointError: a run without a sound checkpoint, or without the one asked for.
        """
        self.check()
        place = Path(self.path).expanduser().resolve()
        if self._is_checkpoint(place):
            return self._of_run(place.parents[1], place, kernels)
        if (place / CONFIG).is_file():
            return self._of_run(place, self.chosen(place), kernels)
        return self._of_transformers(kernels)

    def data(self) -> Data | None:
        """Return what a run was trained on; None of a model that is no run of ours."""
        place = Path(self.path).expanduser().resolve()
        run = place.parents[1] if self._is_checkpoint(place) else place
        if not (run / CONFIG).is_file():
            return None
        data: Data = bind(container(load_config(run))["data"], "data")
        return data

    @staticmethod
    def _is_checkpoint(place: Path) -> bool:
        return (place / "manifest.json").is_file()

    def chosen(self, run: Path) -> Path:
        """Return the checkpoint that is asked for; of ``last`` the newest, sound or not.

        Raises:
            CheckpointError: the run has no such one.
        """
        there = checkpoints(run / "checkpoints")
        if not there:
            raise CheckpointError(f"{run} has no checkpoint: it ended before it wrote one.")
        if self.checkpoint in (None, "last"):
            return there[max(there)]
        if self.checkpoint == "best":
            measured = {step: metrics_of(path).get(BEST) for step, path in there.items()}
            values = {step: value for step, value in measured.items() if value is not None}
            if not values:
                raise CheckpointError(f"{run}: no checkpoint was measured; name its step.")
            return there[min(values, key=values.__getitem__)]
        digits = str(self.checkpoint).removeprefix("step-")
        if digits.isdecimal() and int(digits) in there:
            return there[int(digits)]
        raise CheckpointError(
            f"model.checkpoint={self.checkpoint}: {run} has the steps "
            f"{', '.join(map(str, there))} (or last, best)."
            + nearest(str(self.checkpoint), ["last", "best"])
        )

    def _of_run(self, run: Path, checkpoint: Path, kernels: Kernels) -> Loaded:
        from transformers import AutoModelForCausalLM

        from marco.models.build import config_of
        from marco.training.checkpoints.loading import load

        if self.checkpoint in (None, "last") and checkpoint.parent == run / "checkpoints":
            newest = latest(run / "checkpoints")
            if newest is None:
                raise CheckpointError(f"{run} has no checkpoint that is sound.")
            checkpoint = newest
        tree = container(load_config(run))
        tokenizer = self._tokenizer(run / "tokenizer", f"{tree['name']}/{run.name}")
        shape = config_of(PretrainedModel(str(run)), len(tokenizer))
        network = AutoModelForCausalLM.from_config(shape, dtype=getattr(torch, self.dtype))
        root = self._root(network, len(tokenizer), kernels)
        fingerprint = tokenizer.fingerprint
        found = load(
            checkpoint,
            model=root,
            optimizer=None,
            tokenizer_fingerprint=fingerprint,
            restore_rng=False,
        )
        return Loaded(
            root.eval(),
            tokenizer,
            f"{tree['name']}/{run.name}",
            checkpoint.name,
            found.step,
            found.tokens,
            int(tree["batch"]["sequence_length"]),
        )

    def _of_transformers(self, kernels: Kernels) -> Loaded:
        from marco.models.build import load_pretrained

        local = looks_local(self.path)
        name = Path(self.path).expanduser().resolve().name if local else self.path
        tokenizer = self._tokenizer(Path(self.path).expanduser(), name)
        network = load_pretrained(self.path, getattr(torch, self.dtype))
        rows = network.config.vocab_size
        if rows < len(tokenizer):
            raise ConfigError(
                f"model.path={self.path} has {rows} rows for a tokenizer of {len(tokenizer)} "
                "entries: it is another model's tokenizer."
            )
        return Loaded(self._root(network, len(tokenizer), kernels).eval(), tokenizer, name)

    def _tokenizer(self, folder: Path, name: str) -> Tokenizer:
        if self.tokenizer is None and (folder / TOKENIZER_FILE).is_file():
            return Tokenizer.from_folder(folder, name=name)
        return self._vocabulary(lambda found: found.load(Corpus({}, {})))

    def _vocabulary(self, use: Callable[[PretrainedTokenizer], T]) -> T:
        """Use the tokenizer that is named, or that of the model; errors name the key."""
        key = "model.path" if self.tokenizer is None else "model.tokenizer"
        try:
            return use(PretrainedTokenizer(self.tokenizer or self.path))
        except MarcoError as error:
            raise type(error)(str(error).replace("tokenizer.path", key)) from error

    def _root(self, network: PreTrainedModel, limit: int, kernels: Kernels) -> CausalLanguageModel:
        from marco.models.kernels import install
        from marco.objectives.causal_lm import CausalLanguageModel

        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        network.to(device)
        backend = kernels.chosen(device.type)
        log.info("%s", install(network, backend, kernels.autotune))
        return CausalLanguageModel(network, limit, backend)
