"""The Universal Declaration of Human Rights in 438 languages, aligned by article: `data=udhr`.

The split is by article number, the same in every language: were it by document, the held-out text
of one language would be in the training text of its neighbours, as a translation.
Source and licence of the text: ``marco/assets/README.md``.
"""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import dataclass
from importlib.resources import files

from marco.data.documents import Corpus, Document
from marco.data.settings import Data
from marco.errors import ConfigError, DataError, nearest
from marco.languages import all_languages, canonical, get

ASSET = files("marco").joinpath("assets/udhr.jsonl.xz")

#: The preamble is article 0; a complete declaration has all 31.
ARTICLES = range(31)


@dataclass(frozen=True)
class Udhr(Data):
    """Settings of the UDHR corpus: one document an article, its paragraphs on lines of their own.

    Attributes:
        languages: what ``marco.languages.get`` understands.
        train_articles: article numbers and ranges, both ends included: "0-25", "0-9, 12".
        held_out_articles: likewise; none of them may be in ``train_articles``.
    """

    languages: list[str]
    train_articles: str = "0-25"
    held_out_articles: str = "26-30"

    def __post_init__(self) -> None:
        train = article_numbers("data.train_articles", self.train_articles)
        held_out = article_numbers("data.held_out_articles", self.held_out_articles)
        if shared := sorted(set(train) & set(held_out)):
            raise ConfigError(
                f"data.held_out_articles={self.held_out_articles} and "
                f"data.train_articles={self.train_articles} share {shared}: "
                "an article is either trained on or held out."
            )

    def language_codes(self) -> list[str]:
        """Return the canonical codes of ``languages``.

        Raises:
            ConfigError: none, an unknown one, one named twice, or one without a declaration.
        """
        if not self.languages:
            raise ConfigError("data.languages is empty: name at least one, such as [eng, swh].")
        codes = canonical(self.languages)
        for code in codes:
            language = get(code)
            if language.udhr is None:
                others = [row for row in all_languages() if row.udhr is not None]
                relatives = [row.name for row in others if row.family == language.family]
                raise ConfigError(
                    f"data.languages: the UDHR corpus has no {language.name} ({code})."
                    + nearest(language.name, relatives or [row.name for row in others])
                )
        return codes

    def check(self) -> None:
        """Raise ConfigError where ``load`` would."""
        self.language_codes()

    def load(self) -> Corpus:
        """Read the configured languages' articles from the package's data (0.1 s).

        A few declarations lack articles (Amharic's has no preamble): left out, and noted.

        Raises:
            ConfigError: as ``check`` does.
            DataError: a language has no training or no held-out article at all.
        """
        declarations = read_declarations(self.language_codes())
        notes: list[str] = []
        train = article_numbers("data.train_articles", self.train_articles)
        held_out = article_numbers("data.held_out_articles", self.held_out_articles)
        return Corpus(
            train={code: _select(code, declarations[code], train, notes) for code in declarations},
            held_out={
                code: _select(code, declarations[code], held_out, notes) for code in declarations
            },
            notes=notes,
        )


def _select(
    code: str, articles: dict[int, str], wanted: list[int], notes: list[str]
) -> list[Document]:
    missing = [number for number in wanted if number not in articles]
    name = f"{get(code).name} ({code})"
    if len(missing) == len(wanted):
        raise DataError(f"data.languages: the UDHR text of {name} has no article {missing}.")
    if missing:
        notes.append(f"udhr: {name} lacks article {', '.join(map(str, missing))}")
    return [
        Document(
            text=articles[number],
            language=code,
            source="udhr",
            id=f"{get(code).udhr}/article-{number}",
            parallel_id=f"article-{number}",
        )
        for number in wanted
        if number in articles
    ]


def read_declarations(codes: list[str]) -> dict[str, dict[int, str]]:
    """Return code → article number → text, parsing only the declarations that are wanted."""
    wanted = {get(code).udhr: code for code in codes}
    found: dict[str, dict[int, str]] = {}
    for line in lzma.decompress(ASSET.read_bytes()).splitlines():
        # Every line opens with {"code": "…", and parsing all 520 costs more than the rest.
        udhr = line[:60].decode(errors="ignore").split('"')[3]
        if udhr in wanted:
            articles = json.loads(line)["articles"]
            texts = {int(number): "\n".join(lines) for number, lines in articles.items()}
            # What is missing in the source is a placeholder without a letter ("&1", "@").
            found[wanted[udhr]] = {
                number: text for number, text in texts.items() if re.search(r"[^\W\d_]", text)
            }
    return {code: found[code] for code in codes}


def article_numbers(key: str, written: str) -> list[int]:
    """Parse "0-9, 12" into sorted article numbers."""
    numbers: set[int] = set()
    for part in str(written).split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise ConfigError(f'{key}={written}: write numbers and ranges, such as "0-9, 12".')
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if first > last or last not in ARTICLES:
            raise ConfigError(
                f"{key}={written}: '{part.strip()}' is not within 0-{ARTICLES[-1]} "
                "(0 is the preamble) in rising order."
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)
