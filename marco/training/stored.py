"""Where a model's weights, config and vocabulary are: a run, a checkpoint, a folder, or the hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata

from marco.errors import CheckpointError, ConfigError, MarcoError, nearest
from marco.models.settings import looks_local
from marco.models.tensors.adapted import merged
from marco.models.tensors.config import fitting, read_config
from marco.models.tensors.weights import DTYPES, Chunk, Stored, Weights, check, of_folder
from marco.run_folder import CHECKPOINTS, MODEL, TOKENIZER, run_of
from marco.training.checkpoint import checkpoints, latest
from marco.training.checkpoints.loading import averaged
from marco.training.checkpoints.manifest import Manifest, problems_of_files, read_manifest
from marco.training.checkpoints.reader import SafetensorsReader
from marco.training.loading import ModelChoice, adapter_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
#: How the network's tensors are named in a checkpoint, whose root also has the objective.
_NETWORK = "network."
_KINDS = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class StoredModel:
    """A model on disk, its weights not read.

    Attributes:
        path: as the user gave it.
        weights: exactly those that its config's model has.
        tokenizer: the folder of its vocabulary's files.
        files: the folder of config.json, and of what else transformers wrote beside it.
        run: the run that it is of, or None.
        checkpoint: of the run.
        manifest: of the checkpoint.
    """

    path: str
    weights: Weights
    config: PreTrainedConfig
    tokenizer: Path
    files: Path
    run: Path | None = None
    checkpoint: Path | None = None
    manifest: Manifest | None = None


def find_model(
    path: str, key: str, checkpoint: int | str | None = None, average: bool = False
) -> StoredModel:
    """Find a model and check it as far as that goes without reading tensors.

    Args:
        path: a run's folder, one of its checkpoints, a folder of transformers, or a hub name.
        key: what the user calls it, for messages.
        checkpoint: of a run: a step, ``last`` (None: the newest that is sound) or ``best``.
        average: of a run: the moving average of its weights. Adapters are merged either way.

    Raises:
        MarcoError: nothing is there, or it is damaged or incomplete.
    """
    try:
        if run_of(path) is not None:
            return _of_run(path, checkpoint, average)
        if average:
            raise ConfigError(f"{path} is no run, so it has no weights=ema.")
        if checkpoint is not None:
            raise ConfigError(f"{path} is no run, so it has no checkpoint={checkpoint}.")
        place = _local(path)
        config = read_config(place)
        return StoredModel(path, fitting(of_folder(place), config), config, place, place)
    except MarcoError as error:
        raise type(error)(f"{key}: {error}") from error


def _of_run(path: str, asked: int | str | None, average: bool) -> StoredModel:
    run = run_of(path)
    assert run is not None
    place = Path(path).expanduser().resolve()
    if place == run and asked in (None, "last"):
        found = latest(run / CHECKPOINTS)
        if found is None:
            there = "no checkpoint that is sound" if checkpoints(run / CHECKPOINTS) else "none"
            raise CheckpointError(f"{run} has {there}: a checkpoint is needed.")
    else:
        found = place if place != run else ModelChoice(path, asked).chosen(run)
        if place != run and asked is not None:
            raise ConfigError(f"{path} is one checkpoint already: name its run instead.")
        if problems := problems_of_files(found, read_manifest(found), hashes=True):
            raise CheckpointError(f"{found} is damaged: {'; '.join(problems)}")
    manifest = read_manifest(found)
    config = read_config(run / MODEL)
    adapter, weights = adapter_of(run), _of_checkpoint(found, manifest, average)
    if adapter is not None:
        weights = merged(weights, adapter)
    weights = fitting(weights, config)
    return StoredModel(path, weights, config, run / TOKENIZER, run / MODEL, run, found, manifest)


def _of_checkpoint(path: Path, manifest: Manifest, average: bool) -> Weights:
    """The network's tensors of a checkpoint, in whatever pieces its processes wrote them."""
    state = path / "state"
    names = {name.removeprefix("state/") for name in manifest.files if name.startswith("state/")}
    reader = SafetensorsReader(state, names)
    places = averaged(path, reader) if average else {}
    tensors: dict[str, Stored] = {}
    for name, found in reader.tensors("model").items():
        if not name.startswith(_NETWORK):
            continue
        plain, shape = name.removeprefix(_NETWORK), tuple(found.size)
        place = places.get(f"model/{name}", f"model/{name}")
        found = cast(TensorStorageMetadata, reader.metadata.state_dict_metadata[place])
        kind = _KINDS.get(found.properties.dtype, str(found.properties.dtype))
        check(path, plain, kind, shape)
        chunks = tuple(_chunks(reader, place, found, state))
        tensors[plain] = Stored(found.properties.dtype, shape, chunks)
    return Weights(str(path), tensors)


def _chunks(
    reader: SafetensorsReader, name: str, found: TensorStorageMetadata, state: Path
) -> Iterator[Chunk]:
    for chunk in found.chunks:
        where = reader.metadata.storage_data[MetadataIndex(name, chunk.offsets)]
        yield Chunk(state / where.file, where.key, tuple(chunk.offsets), tuple(chunk.sizes))


def _local(path: str) -> Path:
    """The folder of a model; one of the hub is downloaded into the hub's cache."""
    if looks_local(path):
        place = Path(path).expanduser()
        if not place.is_dir():
            raise ConfigError(f"there is no folder {path}.")
        return place
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # those of its HTTP library, which differs between versions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        here = [entry.name for entry in Path().iterdir() if entry.is_dir()]
        raise ConfigError(
            f"no folder {path}, and the hub gave no such model.{nearest(path, here)} ({reason})"
        ) from None
