"""A model to evaluate, with its vocabulary: a run's checkpoint, or a model of transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from marco.config import bind, container, load_config
from marco.config.saved import CONFIG
from marco.data.documents import Corpus
from marco.errors import CheckpointError, ConfigError, MarcoError, nearest
from marco.models.settings import check_weights, looks_local
from marco.run_folder import MODEL
from marco.tokenizers import Tokenizer
from marco.tokenizers.pretrained import PretrainedTokenizer
from marco.tokenizers.tokenizer import TOKENIZER_FILE
from marco.training.checkpoint import checkpoints, latest, metrics_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from marco.data.settings import Data
    from marco.models.adapters import LoRA
    from marco.models.kernels import Kernels
    from marco.objectives.causal_lm import CausalLanguageModel
    from marco.training.checkpoint import Loaded as Checkpoint

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What the best checkpoint of a run has least of.
BEST = "bits_per_byte"


def run_config(run: Path, vocabulary: int | None = None) -> PreTrainedConfig:
    """Return the config of a run's model.

    Args:
        run: its folder.
        vocabulary: the length of its tokenizer; None: it is read.
    """
    from marco.models.build import config_at, config_of

    if (run / MODEL / "config.json").is_file():
        return config_at(str(run / MODEL))
    settings: Any = bind(container(load_config(run))["model"], "model")
    entries = vocabulary or len(Tokenizer.from_folder(run / "tokenizer"))
    # A run of before: what it began with may be gone.
    return config_of(replace(settings, weights="random"), entries)


def run_network(run: Path, checkpoint: Path, average: bool = False) -> PreTrainedModel:
    """Return a run's model in fp32 on the CPU, with a checkpoint's weights or their `average`.

    Raises:
        CheckpointError: it is damaged, of another model, or keeps no average.
    """
    return _read(run, checkpoint, Tokenizer.from_folder(run / "tokenizer"), average)[0]


def _read(
    run: Path,
    checkpoint: Path,
    tokenizer: Tokenizer,
    average: bool,
    dtype: torch.dtype = torch.float32,
) -> tuple[PreTrainedModel, Checkpoint]:
    from transformers import AutoModelForCausalLM

    from marco.models.adapters import merge
    from marco.objectives.causal_lm import CausalLanguageModel
    from marco.training.checkpoints.loading import load

    adapter = adapter_of(run)
    network: PreTrainedModel = AutoModelForCausalLM.from_config(
        run_config(run, len(tokenizer)), dtype=dtype if adapter is None else torch.float32
    )
    if adapter is not None:
        adapter.put_into(network, seed=0)
    found = load(
        checkpoint,
        model=CausalLanguageModel(network, len(tokenizer)),
        optimizer=None,
        tokenizer_fingerprint=tokenizer.fingerprint,
        restore_rng=False,
        average=average,
    )
    if adapter is not None:
        merge(network)
    return network.to(dtype), found


def adapter_of(run: Path) -> LoRA | None:
    """Return what a run trains in place of the weights; None where it trains them."""
    node = container(load_config(run)).get("adapter")
    if node is None:
        return None
    adapter: LoRA = bind(node, "adapter")
    return adapter


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
        weights: of a run: those that were ``trained``, or ``ema``, their moving average
            (``optimizer.ema``). Adapters are merged into them.
    """

    path: str
    checkpoint: int | str | None = None
    tokenizer: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None
    weights: Literal["trained", "ema"] = "trained"

    def check(self) -> None:
        """Raise ConfigError or CheckpointError for what can be seen without reading the weights."""
        place = Path(self.path).expanduser()
        is_run = self._is_checkpoint(place) or (place / CONFIG).is_file()
        if self.weights == "ema" and not is_run:
            raise ConfigError(f"model.weights=ema: model.path={self.path} is no run of marco's.")
        if self._is_checkpoint(place):
            if self.checkpoint is not None:
                raise ConfigError(
                    f"model.path={self.path} is one checkpoint already: name its run instead."
                )
        elif (place / CONFIG).is_file():
            self.chosen(place.resolve())
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
        place = self.place()
        return self._of_transformers(kernels) if place is None else self._of_run(*place, kernels)

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

    def place(self) -> tuple[Path, Path] | None:
        """Return a run's folder and its checkpoint; None of a model that is no run of ours.

        Raises:
            CheckpointError: a run without a sound checkpoint, or without the one asked for.
        """
        place = Path(self.path).expanduser().resolve()
        if self._is_checkpoint(place):
            return place.parents[1], place
        if not (place / CONFIG).is_file():
            return None
        checkpoint = self.chosen(place)
        if self.checkpoint in (None, "last"):
            newest = latest(place / "checkpoints")
            if newest is None:
                raise CheckpointError(f"{place} has no checkpoint that is sound.")
            checkpoint = newest
        return place, checkpoint

    def _of_run(self, run: Path, checkpoint: Path, kernels: Kernels) -> Loaded:
        tree = container(load_config(run))
        name = f"{tree['name']}/{run.name}"
        tokenizer = self._tokenizer(run / "tokenizer", name)
        average, dtype = self.weights == "ema", getattr(torch, self.dtype)
        network, found = _read(run, checkpoint, tokenizer, average, dtype)
        return Loaded(
            self._root(network, len(tokenizer), kernels).eval(),
            tokenizer,
            name,
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
