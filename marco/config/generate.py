"""The root of `marco generate` (``conf/generate.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from marco.errors import ConfigError
from marco.languages import canonical


@dataclass(frozen=True)
class GenerateSettings:
    """What is continued, by which model, and how."""

    model: Any
    kernels: Any
    prompt: str | None
    file: Path | None
    language: str | list[str] | None
    chat: bool
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int | None
    repetition_penalty: float
    seed: int
    stop: list[str]
    output: Literal["text", "json"]

    def __post_init__(self) -> None:
        if self.prompt is not None and self.file is not None:
            raise ConfigError("Give prompt=… or file=…, not both.")
        if self.prompt is None and self.file is None and not self.languages:
            raise ConfigError(
                "Say what to go on with: prompt=…, file=… or language=… (whose prompts are the "
                "beginnings of held-out articles)."
            )
        if self.prompt is not None and len(self.languages) > 1:
            raise ConfigError(f"language={self.language}: one prompt is in one language.")
        if self.prompt == "":
            raise ConfigError("prompt= is empty.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens={self.max_new_tokens} must be at least 1.")
        if self.file is not None and not self.file.expanduser().is_file():
            raise ConfigError(f"file={self.file}: there is no such file.")

    @property
    def languages(self) -> list[str]:
        """The canonical codes that are named."""
        if self.language is None:
            return []
        return canonical([self.language] if isinstance(self.language, str) else self.language)
