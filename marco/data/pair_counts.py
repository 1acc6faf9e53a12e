"""What became of every pair of a source of parallel text: nothing is dropped without a number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from marco.languages import get

# Reasons: the keys of `PairCounts.dropped`, as they stand in the log.
ALONE = "lines with fewer than two of the languages"
EMPTY = "pairs with an empty or missing side"
COPY = "pairs whose sides are the same (drop_copies)"
LENGTH = "pairs whose sides differ too much in length (max_length_ratio)"
PARAGRAPHS = "pairs of articles with unequal numbers of paragraphs (align=paragraph)"
NO_DIRECTION = "pairs that no direction has a weight for (directions)"
REPEATED = "documents whose pair and direction came before (drop_duplicates)"
FILES = "files beside the others: neither .tsv, .jsonl nor a Moses file of the languages"


@dataclass
class PairCounts:
    """Counts of one pass over a source; final once its documents have all been taken.

    Attributes:
        rows: aligned lines (or articles, or paragraphs): two languages or more.
        pairs: pairs of different languages in them: n(n-1)/2 in a row of n.
        dropped: reason → how many. Every pair is dropped for one reason, or could be drawn.
        directions: (from, to) → documents.
        english_names: code → documents that name it in English for want of a native name.
    """

    rows: int = 0
    pairs: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    directions: Counter[tuple[str, str]] = field(default_factory=Counter)
    english_names: Counter[str] = field(default_factory=Counter)

    @property
    def documents(self) -> int:
        """How many documents came out."""
        return self.directions.total()

    def notes(self, name: str) -> list[str]:
        """Return one line for each thing that was dropped or replaced, then the sum."""
        lines = [f"{name}: dropped {count} {reason}" for reason, count in self.dropped.items()]
        if self.english_names:
            names = ", ".join(get(code).name for code in sorted(self.english_names))
            lines.append(
                f"{name}: {self.english_names.total()} times a language was named in English, as "
                f"CLDR has no name in the language itself: {names}"
            )
        lines.append(
            f"{name}: {self.documents} documents in {len(self.directions)} directions "
            f"from {self.pairs} pairs in {self.rows} rows"
        )
        return lines
