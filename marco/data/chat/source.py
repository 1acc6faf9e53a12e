"""A source of a mix, conversations in files: `_target_: marco.data.chat.source.ChatSource`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marco.data.chat.formats import Format, detect, parse
from marco.data.chat.messages import ChatCounts, UnusableError, usable
from marco.data.chat.rows import read_rows
from marco.data.chat.text import ChatText, Conversation
from marco.data.text_files import PACKED
from marco.data.text_source import found_files
from marco.errors import ConfigError, DataError

_ENDINGS = (*(f".jsonl{packed}" for packed in ("", *PACKED)), ".parquet")


@dataclass(frozen=True, kw_only=True)
class ChatSource(ChatText):
    """Settings of conversations in files, read one after the other.

    Attributes:
        path: a file, a glob ("chats/swh/*.jsonl.gz"), or a list of these, in order.
        format: openai, sharegpt or alpaca; null: told by the keys of each file's first line.
        max_line_megabytes: a longer line is an error.
    """

    path: str | list[str]
    format: Format | None = None
    max_line_megabytes: int = 16

    def check(self, where: str) -> None:
        """See `ChatText`; looks for the files, without reading them.

        Raises:
            ConfigError: nothing at `path`.
            DataError: a file of 0 bytes.
        """
        super().check(where)
        if self.max_line_megabytes < 1:
            raise ConfigError(f"{where}.max_line_megabytes={self.max_line_megabytes}: at least 1.")
        for file in self.files(where):
            if file.stat().st_size == 0:
                raise DataError(f"{where}.path: {file} is empty (0 bytes).")

    def conversations(self, where: str, counts: ChatCounts) -> Iterator[Conversation]:
        """See `ChatText`."""
        for file in self.files(where):
            format = self.format
            for place, row in read_rows(file, self.max_line_megabytes * 1_000_000):
                format = format or detect(row, place)
                try:
                    messages = parse(row, format, place)
                    kept = usable(messages)
                except UnusableError as reason:
                    counts.dropped[str(reason)] += 1
                    continue
                counts.unanswered += messages[-1].role == "user"
                yield kept

    def text_key(self) -> str:
        """See `ChatText`: reads every byte."""
        digest = hashlib.sha256(repr(self.format).encode())
        for file in self.files("path"):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def files(self, where: str) -> list[Path]:
        """Return the files in order. Raises ConfigError, see `check`."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        if not paths:
            raise ConfigError(f"{where}.path is empty: name a file, a glob, or several.")
        return [file for path in paths for file in found_files(path, where, _ENDINGS)]
