"""A user's own conversations: a folder of `<language>.{jsonl,parquet}`: `data=chat data.path=…`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marco.data.chat.formats import Format
from marco.data.chat.source import ChatSource
from marco.data.chat.system_prompts import SystemPrompt
from marco.data.language_files import language_files
from marco.data.mixture import Mixture
from marco.data.of_mixture import OfMixture
from marco.data.settings import Data

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class ChatFiles(OfMixture):
    """Settings of a folder of conversations, as `ChatSource` reads each language's.

    Attributes:
        path: the folder; a language may have several files (swh.jsonl, swh.2024-05.jsonl.gz).
        max_tokens: longer conversations are cut there, and dropped where no answer is left.
        languages: what to read; None: every file's language.
        held_out: a corpus whose held-out text is evaluated; None: nothing is.
        format, template, system_prompts, seed, max_line_megabytes: see `ChatSource`.
    """

    path: str
    max_tokens: int
    languages: list[str] | None = None
    held_out: Data | None = None
    format: Format | None = None
    template: str | None = None
    system_prompts: dict[str, SystemPrompt] | None = None
    seed: int = 0
    max_line_megabytes: int = 16

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """See `Data`: it must have a chat template, or the tokens of Qwen2's."""
        next(iter(self._mixture().sources.values())).check_tokenizer(tokenizer, "data")

    def _mixture(self) -> Mixture:
        found = language_files(self.path, self.languages, ("jsonl", "parquet"))
        return Mixture(
            {
                code: ChatSource(
                    path=[str(file) for file in files],
                    max_tokens=self.max_tokens,
                    format=self.format,
                    template=self.template,
                    system_prompts=self.system_prompts,
                    seed=self.seed,
                    max_line_megabytes=self.max_line_megabytes,
                )
                for code, files in found.items()
            },
            held_out=self.held_out,
        )
