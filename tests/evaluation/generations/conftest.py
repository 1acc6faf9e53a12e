from __future__ import annotations

import pytest

from marco.data.udhr import read_declarations
from marco.evaluation.generations.identifier import Identifier
from marco.languages import MARCO_LANGUAGES

#: The paper's languages, some beyond them, and relatives that are hard to tell apart.
CODES = [*MARCO_LANGUAGES, "swh", "yor", "amh", "khm", "lao", "mya", "bos", "hrv", "srp", "nno"]


@pytest.fixture(scope="session")
def declarations() -> dict[str, dict[int, str]]:
    return read_declarations(CODES)


@pytest.fixture(scope="session")
def identifier() -> Identifier:
    return Identifier([*CODES, "tso", "asm"])
