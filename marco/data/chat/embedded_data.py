"""The corpus of the embedded instructions, a source for each language: `data=chat_embedded`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marco.data.chat.embedded import TASKS, EmbeddedChat, Task, check_words
from marco.data.chat.system_prompts import SystemPrompt, check_prompts
from marco.data.directions import Directions
from marco.data.mixture import Mixture
from marco.data.of_mixture import OfMixture
from marco.data.udhr import Udhr
from marco.errors import ConfigError

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class EmbeddedChats(OfMixture):
    """Settings of the embedded instructions; see `EmbeddedChat`.

    Attributes:
        languages: what `marco.languages.get` understands; those of answers and of questions' texts.
        max_tokens: longer conversations are cut there, and dropped where no answer is left.
        tasks: some of translate, word, article; null: all.
        train_articles, held_out_articles: as of `data=udhr`; the latter's text is evaluated.
        held_out_words, words, directions: see `EmbeddedChat`.
        template, system_prompts, seed: see `ChatText`.
    """

    languages: list[str]
    max_tokens: int
    tasks: list[Task] | None = None
    train_articles: str = "0-25"
    held_out_articles: str = "26-30"
    held_out_words: float = 0.25
    words: int | None = 200
    directions: str | dict[str, float] = "any_to_any"
    template: str | None = None
    system_prompts: dict[str, SystemPrompt] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._text()
        check_words(self.held_out_words, self.words, "data")
        check_prompts(self.system_prompts, "data.system_prompts")
        if self.tasks is not None and (not self.tasks or len(set(self.tasks)) < len(self.tasks)):
            raise ConfigError(f"data.tasks={self.tasks}: some of {', '.join(TASKS)}, each once.")

    def language_codes(self) -> list[str]:
        """See `Data`."""
        return self._text().language_codes()

    def check(self) -> None:
        """See `Data`."""
        codes = self.language_codes()
        if len(codes) < 2:
            raise ConfigError(f"data.languages={self.languages}: two at least, to translate.")
        Directions.parse(self.directions, "data.directions").check(codes, "data.directions")
        next(iter(self._mixture().sources.values())).check("data")

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """See `Data`: it must have a chat template, or the tokens of Qwen2's."""
        next(iter(self._mixture().sources.values())).check_tokenizer(tokenizer, "data")

    def _text(self) -> Udhr:
        return Udhr(self.languages, self.train_articles, self.held_out_articles)

    def _mixture(self) -> Mixture:
        codes = self.language_codes()
        return Mixture(
            {
                code: EmbeddedChat(
                    answers=code,
                    languages=tuple(codes),
                    max_tokens=self.max_tokens,
                    tasks=tuple(self.tasks or TASKS),
                    articles=self.train_articles,
                    held_out_articles=self.held_out_articles,
                    held_out_words=self.held_out_words,
                    words=self.words,
                    directions=self.directions,
                    template=self.template,
                    system_prompts=self.system_prompts,
                    seed=self.seed,
                )
                for code in codes
            },
            held_out=self._text(),
        )
