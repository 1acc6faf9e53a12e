"""An entry of the token cache: where it is, whether it is whole, and how it comes to be."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.data.stores import Source
from marco.data.token_file import TokenFile, TokenWriter, token_type
from marco.kernels.cache_folder import cache_folder

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

# In the name of every entry: another layout is another entry.
_FORMAT = 1
_TOKENS = "tokens.ds"
# As in every folder of shards: which tokenizer wrote it, and how large the shards are.
_STAMP = "marco.json"


class Entry:
    """The place of one text, tokenised by one tokenizer.

    Args:
        key: a hash of the text.
        tokenizer: which ids.
    """

    def __init__(self, key: str, tokenizer: Tokenizer) -> None:
        parts = json.dumps([_FORMAT, key, tokenizer.fingerprint, tokenizer.end_of_text])
        self.tokenizer = tokenizer
        self.folder = cache_folder() / "tokens" / hashlib.sha256(parts.encode()).hexdigest()[:32]

    def read(self, name: str, language: str) -> Source | None:
        """Return the source that is kept; None where there is none, or files are cut or missing.

        Sizes and the last offset are looked at, not every byte.
        """
        try:
            stamp = json.loads((self.folder / _STAMP).read_text(encoding="utf-8"))
            token_bytes = token_type(len(self.tokenizer)).itemsize
            path = self.folder / _TOKENS
            store = TokenFile(path, int(stamp["documents"]), int(stamp["tokens"]), token_bytes)
            text_bytes = int(stamp["text_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not store.is_whole():
            return None
        return Source(name, language, store, self.tokenizer.end_of_text, text_bytes)

    def start(self) -> tuple[Path, TokenWriter]:
        """Return a folder beside the entry's, and a writer in it. Raises OSError."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f".{self.folder.name}."))
        label = f"{self.tokenizer.name} {self.tokenizer.fingerprint[:12]}"
        try:
            return beside, TokenWriter(beside / _TOKENS, len(self.tokenizer), label)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def commit(self, beside: Path, writer: TokenWriter, text_bytes: int) -> None:
        """Make what was written the entry. Raises OSError."""
        writer.finish()
        stamp: dict[str, Any] = {
            "tokenizer": self.tokenizer.name,
            "fingerprint": self.tokenizer.fingerprint,
            "shards": {_TOKENS: (beside / _TOKENS).stat().st_size},
            "documents": writer.documents,
            "tokens": writer.tokens,
            "text_bytes": text_bytes,
        }
        (beside / _STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        beside.chmod(0o755)
        try:
            beside.rename(self.folder)
        except OSError:
            # Damaged, or another process was faster: either way ours is as good, and whole.
            old = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f".{self.folder.name}."))
            with suppress(FileNotFoundError):
                self.folder.rename(old / "old")
            shutil.rmtree(old, ignore_errors=True)
            beside.rename(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for other processes that write this entry, and remove what killed ones left.

        Does nothing where nothing can be written, or the file system knows no locks.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = Path(f"{self.folder}.lock").open("w")  # noqa: SIM115 - closed below
        except OSError:
            yield
            return
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("Waiting for another process, which tokenises the same text.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                yield
                return
            for left in self.folder.parent.glob(f".{self.folder.name}.*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
