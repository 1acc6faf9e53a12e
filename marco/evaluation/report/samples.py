"""What the model writes, a card a language, each in its own direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from marco.evaluation.numbers import short
from marco.evaluation.report.measures import in_order
from marco.languages import get

_SAID = {True: ("worse", "another language"), False: ("better", "in this language")}


def sampled(samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the last samples of every language, what was given dim, what was written bold."""
    if not samples:
        return (
            "<p>There are none: the callback <code>samples</code> was off, or has not run yet.</p>"
        )
    last = {sample["language"]: sample for sample in samples}
    tokens = samples[-1]["tokens"]
    cards = "".join(_card(last[code]) for code in in_order(last))
    return (
        f'<p class="dim">After {short(tokens)} tokens: a held-out beginning, and how the model '
        f'goes on, always by its likeliest token.</p><div class="samples">{cards}</div>'
    )


def _card(sample: Mapping[str, Any]) -> str:
    language = get(sample["language"])
    own = language.native_name
    native = "" if own in (None, language.name) else f" · {escape(own)}"
    # BCP 47; the two-letter code where there is one, as browsers choose fonts by it
    tag = f"{language.iso639_1 or language.code}-{language.script}"
    return (
        f'<article class="card"><h3>{escape(language.name)}'
        f'<span class="dim">{native}</span>{"".join(_verdict(sample))}</h3>'
        f'<p lang="{escape(tag)}" dir="{language.direction}"><span class="given">'
        f"{escape(sample['prompt'])}</span><mark>{escape(sample['text']) or '∅'}</mark></p>"
        f"{''.join(_reference(sample, tag, language.direction))}</article>"
    )


def _verdict(sample: Mapping[str, Any]) -> Iterator[str]:
    if sample["wrong_language"] is not None:
        kind, said = _SAID[sample["wrong_language"]]
        yield f'<span class="tag {kind}">{said}</span>'


def _reference(sample: Mapping[str, Any], tag: str, direction: str) -> Iterator[str]:
    if sample["reference"]:
        yield (
            f"<details><summary>as it was written</summary>"
            f'<p lang="{escape(tag)}" dir="{direction}">{escape(sample["reference"])}</p></details>'
        )
