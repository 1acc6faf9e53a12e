"""What a language is called in a text for training: in English, or in the language itself."""

from __future__ import annotations

from typing import Literal

from marco.languages import get

#: `both` draws one of the two for every document.
Names = Literal["english", "native", "both"]


def native_drawn(names: Names, point: float) -> bool:
    """Whether a document names its languages in themselves; `point` in [0, 1) decides `both`."""
    return names == "native" or (names == "both" and point < 0.5)


def language_name(code: str, native: bool) -> str:
    """Return the name of a canonical code's language; the English one where CLDR has no native."""
    language = get(code)
    return (language.native_name or language.name) if native else language.name
