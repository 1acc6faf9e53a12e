"""What a run's ``log.txt`` says: what was built, and what was warned of."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) \S+: (?P<text>.*)")
#: How the lines begin that say what was built.
BUILT = ("Machine", "Model", "Text", "Kernels")
_WARNINGS = ("WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Log:
    """``built``: {"Model": what is said of it, …}; ``warnings``: each text and how often it came.

    What is said again in a resumed part counts: it is what the run ended with.
    """

    built: dict[str, str] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)


def read_log(path: Path) -> Log:
    """Read a log; an empty one where there is no file. Messages of several lines stay whole."""
    found = Log()
    if not path.is_file():
        return found
    said: list[tuple[str, str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.match(line)
        if match:
            said.append((match["level"], match["text"]))
        elif said:
            level, text = said.pop()
            said.append((level, f"{text}\n{line}"))
    for level, text in said:
        what, colon, rest = text.partition(": ")
        if level in _WARNINGS:
            found.warnings[text] += 1
        elif colon and what in BUILT:
            found.built[what] = rest
    return found
