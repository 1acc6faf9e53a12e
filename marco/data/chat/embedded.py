"""Instructions made of the embedded data, in up to 109 languages: `data=chat_embedded`.

- `translate`: a paragraph of the Declaration of Human Rights, from another language.
- `word`: an everyday word of the CLDR lexicon, from another language.
- `article`: which article a paragraph is from.

The question is in English, the answer in the source's language (an article is a number). What
evaluations ask is kept out: paragraphs of the held-out articles and what repeats them, and the
lexicon's held-out words, among which are the first that `marco.evaluation.lexicon` asks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from typing import Literal

import yaml

from marco.data.chat.messages import ChatCounts, Message
from marco.data.chat.text import ChatText, Conversation
from marco.data.directions import Directions, draw
from marco.data.lexicon import ASSET as LEXICON
from marco.data.lexicon import draw_hash, everyday, names
from marco.data.pair_hash import uniform
from marco.data.udhr import ASSET, article_numbers, read_declarations
from marco.errors import ConfigError
from marco.languages import get

Task = Literal["translate", "word", "article"]

TASKS: tuple[Task, ...] = ("translate", "word", "article")
REPEATS = "paragraphs that repeat a held-out one"
ALONE = "paragraphs and words that no other language has a counterpart of (directions)"
# Of shorter paragraphs ("Article 2.") nobody could tell.
_TELLING = 40
_ENGLISH = "en"


@dataclass(frozen=True, kw_only=True)
class EmbeddedChat(ChatText):
    """Settings of the instructions whose answers are in one language.

    Attributes:
        answers: the canonical code of that language.
        languages: canonical codes, `answers` among them: what is translated from.
        tasks: some of translate, word, article.
        articles: numbers and ranges, both ends included; 0 is the preamble.
        held_out_articles: likewise; no paragraph of theirs, nor one that repeats one, is used.
        held_out_words: share of the lexicon's concepts that are left out, by a hash of each.
        words: at most so many words; null: all.
        directions: any_to_any, english_centric, or weights, as of parallel text.
    """

    answers: str
    languages: tuple[str, ...]
    tasks: tuple[Task, ...] = TASKS
    articles: str = "0-25"
    held_out_articles: str = "26-30"
    held_out_words: float = 0.25
    words: int | None = 200
    directions: str | dict[str, float] = "any_to_any"

    def conversations(self, where: str, counts: ChatCounts) -> Iterator[Conversation]:
        """See `ChatText`: task by task, article by article."""
        makers = {"translate": self._translate, "word": self._words, "article": self._articles}
        for task in self.tasks:
            yield from makers[task](counts)

    def text_key(self) -> str:
        """See `ChatText`."""
        assets = [hashlib.sha256(asset.read_bytes()).hexdigest() for asset in (ASSET, LEXICON)]
        directions = Directions.parse(self.directions, "directions").rule
        decides = (
            assets,
            _templates(),
            (self.answers, self.languages, self.tasks),
            (self.articles, self.held_out_articles, self.held_out_words, self.words),
            directions if isinstance(directions, str) else sorted(directions.items()),
        )
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def _translate(self, counts: ChatCounts) -> Iterator[Conversation]:
        own = self._paragraphs(counts)
        texts = _declarations(self.languages)
        codes = [code for code in self.languages if code != self.answers]
        others = {code: _paragraphs(texts[code], self.articles) for code in codes}
        hidden = {code: self._hidden(code) for code in codes}
        for (article, place, of), text in own.items():
            aligned = {
                code: said
                for code, theirs in others.items()
                if (said := theirs.get((article, place, of))) is not None
                and not _repeats(said, hidden[code])
            }
            yield from self._asked("translate", f"{article}.{place}", aligned, text, counts)

    def _words(self, counts: ChatCounts) -> Iterator[Conversation]:
        locale = get(self.answers).cldr
        if locale is None:
            return
        tables = {
            code: names(cldr)
            for code in self.languages
            if code != self.answers and (cldr := get(code).cldr) is not None
        }
        own, english = names(locale), names(_ENGLISH)
        held_out = int(self.held_out_words * 2**64)
        known = [c for c in own if c in english and draw_hash(0, "asked", c) >= held_out]
        found = 0
        for concept in sorted(known, key=lambda c: draw_hash(self.seed, "embedded chat", c)):
            word = own[concept]
            if not everyday(concept, english[concept], word, ""):
                continue
            others = {
                code: table[concept]
                for code, table in tables.items()
                if concept in table and everyday(concept, english[concept], table[concept], word)
            }
            if not others:
                continue
            if found == self.words:
                return
            found += 1
            yield from self._asked("word", concept, others, word, counts)

    def _articles(self, counts: ChatCounts) -> Iterator[Conversation]:
        for (article, place, _), text in self._paragraphs(counts).items():
            if article and len(text) >= _TELLING:
                asked = self._ask("article", f"{article}.{place}", text=text)
                yield Message("user", asked), Message("assistant", str(article))

    def _asked(
        self, task: Task, item: str, others: Mapping[str, str], answer: str, counts: ChatCounts
    ) -> Iterator[Conversation]:
        directions = Directions.parse(self.directions, "directions")
        weighted = [
            ((code, self.answers), weight)
            for code in others
            if (weight := directions.weight(code, self.answers))
        ]
        if not weighted:
            counts.dropped[ALONE] += 1
            return
        ((source, _),) = draw(weighted, 1, partial(self._uniform, task, item))
        asked = self._ask(task, item, text=others[source], source_language=get(source).name)
        yield Message("user", asked), Message("assistant", answer)

    def _ask(self, task: Task, item: str, **values: str) -> str:
        ways = _templates()[task]
        way = ways[int(self._uniform(task, f"{item} template", 0) * len(ways))]
        values["language"] = get(self.answers).name
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], way)

    def _uniform(self, task: str, item: str, number: int) -> float:
        return uniform(self.seed, self.answers.encode(), f"{task} {item} {number}")

    def _paragraphs(self, counts: ChatCounts) -> dict[tuple[int, int, int], str]:
        hidden = self._hidden(self.answers)
        found = _paragraphs(_declarations(self.languages)[self.answers], self.articles)
        kept = {place: text for place, text in found.items() if not _repeats(text, hidden)}
        if len(kept) < len(found):
            counts.dropped[REPEATS] += len(found) - len(kept)
        return kept

    def _hidden(self, code: str) -> list[str]:
        texts = _declarations(self.languages)[code]
        return list(_paragraphs(texts, self.held_out_articles).values())


def check_words(held_out: float, words: int | None, key: str) -> None:
    """Raise ConfigError for numbers of words that cannot be, naming a key below `key`."""
    if not 0 <= held_out < 1:
        raise ConfigError(f"{key}.held_out_words={held_out}: from 0 to below 1.")
    if words is not None and words < 1:
        raise ConfigError(f"{key}.words={words}: at least 1, or null for all.")


@lru_cache(maxsize=1)
def _templates() -> dict[str, list[str]]:
    text = (files("marco") / "assets" / "chat_templates.yaml").read_text(encoding="utf-8")
    table: dict[str, list[str]] = yaml.safe_load(text)
    return table


@lru_cache(maxsize=1)
def _declarations(codes: tuple[str, ...]) -> dict[str, dict[int, str]]:
    return read_declarations(list(codes))


def _paragraphs(texts: Mapping[int, str], articles: str) -> dict[tuple[int, int, int], str]:
    """Return (article, place, paragraphs of the article) → text: equal keys translate each other.

    As far as declarations divide an article alike, which is what an equal number says.
    """
    found = {}
    for number in article_numbers("articles", articles):
        lines = texts[number].split("\n") if number in texts else []
        found.update({(number, place, len(lines)): line for place, line in enumerate(lines)})
    return found


def _repeats(text: str, hidden: list[str]) -> bool:
    return any(text in other or other in text for other in hidden)
