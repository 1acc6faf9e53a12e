"""The articles of the declarations, held out and not, and their alignment by paragraph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from marco.data.udhr import Udhr, article_numbers, read_declarations
from marco.errors import DataError, nearest
from marco.languages import all_languages, get

#: Article numbers: those that `data=udhr` trains on, and those that it holds out.
TRAINING = article_numbers("data.train_articles", Udhr.train_articles)
HELD_OUT = article_numbers("data.held_out_articles", Udhr.held_out_articles)

#: The declaration that says where a paragraph ends, and how long a text is.
RULER = "eng"

#: (article, paragraph within it).
Place = tuple[int, int]

# A paragraph that the source lacks is a placeholder without one ("&1", "@").
_LETTER = re.compile(r"[^\W\d_]")


def articles(code: str) -> Mapping[int, str]:
    """Return number → text, paragraphs on lines of their own. `code` is canonical.

    Raises:
        DataError: there is no such declaration.
    """
    declarations = _declarations()
    if code not in declarations:
        name = f"{get(code).name} ({code})"
        raise DataError(f"The UDHR corpus has no {name}.{nearest(code, declarations)}")
    return declarations[code]


@lru_cache(maxsize=1)
def _declarations() -> dict[str, dict[int, str]]:
    return read_declarations(declared())


def declared() -> list[str]:
    """Return the codes of the languages that have a declaration, sorted."""
    return [language.code for language in all_languages() if language.udhr is not None]


def paragraphs(code: str, numbers: Sequence[int]) -> dict[Place, str]:
    """Return the paragraphs of these articles, in their order."""
    return {
        (number, place): line
        for number in numbers
        for place, line in enumerate(articles(code).get(number, "").split("\n"))
        if _LETTER.search(line)
    }


def aligned(code: str, numbers: Sequence[int]) -> dict[Place, str]:
    """Return the paragraphs of these articles that stand where they do in English.

    An article that is divided otherwise is left out: its paragraphs are parallel to none.
    """
    alike = {
        number
        for number in numbers
        if articles(code).get(number, "").count("\n") == articles(RULER)[number].count("\n")
    }
    return {place: text for place, text in paragraphs(code, numbers).items() if place[0] in alike}


def drawn(*what: object) -> int:
    """Return a number that looks random and depends on `what` alone."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8], "big")
