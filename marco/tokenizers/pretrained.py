"""A tokenizer that already exists, in a folder or on the hub: `tokenizer=pretrained`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from marco.data.documents import Corpus
from marco.errors import ConfigError, DataError, nearest
from marco.run_folder import TOKENIZER, run_of
from marco.tokenizers.tokenizer import CONFIG_FILE, TOKENIZER_FILE, Tokenizer

# What transformers can turn into a fast tokenizer where there is no tokenizer.json.
_CONVERTIBLE = (("vocab.json", "merges.txt"), ("tokenizer.model",))

_HUB_SECONDS = 10.0


@dataclass(frozen=True)
class PretrainedTokenizer:
    """Settings of an existing tokenizer.

    Attributes:
        path: a folder with tokenizer.json (as ``save_pretrained`` writes it), a run's folder or one
            of its checkpoints, or a hub name such as Qwen/Qwen2.5-0.5B. No code from there is ever
            executed.
        chat: give it what chat needs, as far as it lacks it (`Tokenizer.for_chat`).
    """

    path: str | None
    chat: bool = False

    def check(self) -> None:
        """Raise ConfigError where no tokenizer is at ``path``; asks the hub for a hub name."""
        if self.path is None:
            raise ConfigError(
                "tokenizer.path is not set: name a folder with tokenizer.json, or a hub name."
            )
        if self._is_folder():
            self._check_folder(self._folder())
        else:
            self._check_hub(self.path)

    def least_entries(self) -> int | None:
        """Entries of a folder's tokenizer.json; None where it is converted or on the hub."""
        assert self.path is not None
        path = self._folder() / TOKENIZER_FILE
        return len(Tokenizer.from_folder(path.parent)) if path.is_file() else None

    def load(self, corpus: Corpus) -> Tokenizer:
        """Load it; what is not a tokenizer.json yet is converted by transformers.

        Raises:
            ConfigError: as ``check`` does.
            DataError: the files cannot be read, or are of no tokenizer with a fast version.
        """
        self.check()
        assert self.path is not None
        folder = self._folder()
        if self._is_folder() and (folder / TOKENIZER_FILE).is_file():
            found = Tokenizer.from_folder(folder)
        else:
            found = _convert(str(folder) if self._is_folder() else self.path)
        return found.for_chat() if self.chat else found

    def _folder(self) -> Path:
        """Where the files are: of a run or a checkpoint of it, in the run's ``tokenizer``."""
        assert self.path is not None
        run = run_of(self.path)
        return Path(self.path).expanduser() if run is None else run / TOKENIZER

    def _is_folder(self) -> bool:
        """Whether ``path`` means this machine: it exists, or cannot be <owner>/<name>."""
        assert self.path is not None
        folder = Path(self.path).expanduser()
        names = self.path.split("/")
        return (
            folder.exists()
            or names[0] in ("", ".", "..", "~")
            or len(names) > 2
            or (len(names) == 2 and folder.parent.is_dir())
        )

    def _check_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            reason = "is a file, not a folder" if folder.exists() else "does not exist"
            siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
            hint = nearest(folder.name, [entry.name for entry in siblings if entry.is_dir()])
            raise ConfigError(
                f"tokenizer.path={self.path}: the folder {reason}.{hint} "
                f"It must hold {TOKENIZER_FILE}."
            )
        ready = (folder / TOKENIZER_FILE).is_file()
        if not ready and not any(all((folder / n).is_file() for n in s) for s in _CONVERTIBLE):
            raise ConfigError(
                f"tokenizer.path={self.path}: no tokenizer in that folder: {TOKENIZER_FILE} is "
                "missing."
            )

    @staticmethod
    def _check_hub(name: str) -> None:
        from huggingface_hub import HfApi, try_to_load_from_cache

        try:
            if isinstance(try_to_load_from_cache(name, CONFIG_FILE), str):
                return
            # One request: downloading would retry for half a minute where there is no network.
            HfApi().model_info(name, timeout=_HUB_SECONDS)
        except Exception as error:  # those of its HTTP library, which differs between versions
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"tokenizer.path={name}: no such folder here (it must hold {TOKENIZER_FILE}), and "
                f"the hub gave no model of this name: {reason[0]}"
            ) from None


def _convert(source: str) -> Tokenizer:
    """Let transformers load ``source``, and read what it saves."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DataError(f"tokenizer.path={source} cannot be loaded: {error}") from None
    with tempfile.TemporaryDirectory() as folder:
        loaded.save_pretrained(folder)
        if not (Path(folder) / TOKENIZER_FILE).is_file():
            raise DataError(f"tokenizer.path={source}: there is no fast version of this tokenizer.")
        return Tokenizer.from_folder(Path(folder), name=Path(source).name)
