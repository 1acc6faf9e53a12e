"""Marco-LLM's corpus by its published sizes: to plan and test mixes of text that isn't there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class VirtualCorpus:
    """Sizes in tokens, by canonical language code or source name, in the paper's order.

    Attributes:
        sizes: tokens collected: what a mixing rule takes.
        used: tokens trained on, both stages together, as printed (a tenth of a billion).
    """

    sizes: dict[str, int]
    used: dict[str, int]


def marco_corpus() -> VirtualCorpus:
    """Read Table 1 of Marco-LLM (2412.04003): 29 languages, parallel, knowledge, synthetic."""
    text = (files("marco") / "assets" / "marco_corpus.yaml").read_text(encoding="utf-8")
    table: dict[str, dict[str, float]] = yaml.safe_load(text)["billions_of_tokens"]
    return VirtualCorpus(
        sizes={name: round(row["collected"] * 1e9) for name, row in table.items()},
        used={name: round(row["used"] * 1e9) for name, row in table.items()},
    )
