"""How well a model's layers align languages: retrieval of parallel paragraphs, layer by layer.

A paragraph's embedding is the mean of its tokens' hidden states. Of each paragraph of a language
the nearest English one by cosine is looked for, and the reverse; the accuracy is the share whose
nearest is the translation, over both directions. Layer l is what decoder layer l puts out, before
the norm above the last one. Layer 0 is the embedding table: what words that look alike in two
languages find by themselves (.36 in Italian, of an untrained model), so it is never the best.

The paragraphs are those of the Universal Declaration of Human Rights, of articles that have as many
of them in a language as in English: 50 in most languages, 10 of them in the held-out articles 26 to
30. Hidden states of all texts of a language point mostly the same way, which says what language it
is and not what the text says: `centred` takes each side's mean off first. With it the best layer of
SmolLM2-135M finds .85 in French, .72 in Chinese, .43 in German, .28 in Russian and .13 in Swahili;
without, .22, .24, .11, .05 and .06.

The best of many layers is above chance even at random: of 25 layers 0.06 for 50 paragraphs, 0.29
for 10. A run that trains on articles of the declaration as translations should be measured on the
others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from marco.data.pair_counts import PairCounts
from marco.data.udhr_pairs import UdhrPairs
from marco.evaluation.packing import Window, pack
from marco.evaluation.rows import Row
from marco.evaluation.scoring import scoring_mode
from marco.languages import get

PIVOT = "eng"
ARTICLES = "1-30"  # few declarations have as many paragraphs in the preamble as English

#: (input_ids, position_ids), int64 [1, tokens]; positions restart at every packed document.
Forward = Callable[[Tensor, Tensor], object]
Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Alignment:
    """One language's accuracies.

    Attributes:
        language: canonical code.
        n: paragraphs; guessing finds one in n.
        accuracies: by layer, from the embeddings up; of both directions together.
    """

    language: str
    n: int
    accuracies: tuple[float, ...]

    @property
    def layer(self) -> int:
        """The decoder layer, from 1, that aligns best; the lowest of several."""
        return max(range(1, len(self.accuracies)), key=lambda layer: self.accuracies[layer])

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, and the best layer, as a dictionary that JSON can hold."""
        return {**asdict(self), "layer": self.layer}

    def row(self) -> Row:
        """Return the accuracy of the best layer as a row."""
        best = self.accuracies[self.layer]
        row = Row("alignment", self.language, get(self.language).group, "alignment", best, self.n)
        return row.but(chance=1 / self.n)


@dataclass(frozen=True, slots=True)
class Probe:
    """Parallel paragraphs, tokenised once.

    Attributes:
        pivot: of every English paragraph its tokens.
        others: of every other language the paragraphs' tokens, by their place among the English.
        end_of_text: what stands before each.
    """

    pivot: Sequence[Sequence[int]]
    others: Mapping[str, Mapping[int, Sequence[int]]]
    end_of_text: int

    @classmethod
    def of(
        cls, languages: Sequence[str], encode: Encode, end_of_text: int, articles: str = ARTICLES
    ) -> Probe:
        """Read and tokenise the paragraphs.

        Args:
            languages: canonical codes; those without a declaration, or without an article of as
                many paragraphs as in English, are left out.
            encode: texts → token ids, without special tokens.
            end_of_text: the token that a document begins after.
            articles: numbers and ranges, such as "26-30".

        Raises:
            ConfigError: no such article.
        """
        codes = [code for code in languages if code != PIVOT and get(code).udhr is not None]
        if not codes:
            return cls([], {}, end_of_text)
        pairs = UdhrPairs([PIVOT, *codes], articles, align="paragraph")
        rows = [row for row in pairs.rows(PairCounts()) if row.get(PIVOT)]
        others = {}
        for code in codes:
            places = [place for place, row in enumerate(rows) if row.get(code)]
            if len(places) > 1:
                tokens = encode([rows[place][code] for place in places])
                others[code] = dict(zip(places, tokens, strict=True))
        return cls(encode([row[PIVOT] for row in rows]), others, end_of_text)

    def run(
        self,
        model: nn.Module,
        layers: Sequence[nn.Module],
        forward: Forward,
        *,
        max_tokens: int = 2048,
        centred: bool = True,
        progress: Progress | None = None,
    ) -> list[Alignment]:
        """Measure every language, one after the other.

        Every process of a run does all of it, with the same forwards in the same order.

        Args:
            model: put into evaluation mode for as long as this takes.
            layers: its decoder layers.
            forward: runs them.
            max_tokens: in one forward; a longer paragraph is cut.
            centred: see the module.
            progress: called with (languages done, languages in all).
        """
        found = []
        with scoring_mode(model):
            pivot = None
            for done, (code, texts) in enumerate(self.others.items(), start=1):
                if pivot is None:
                    pivot = self._embed(layers, forward, self.pivot, max_tokens)
                own = self._embed(layers, forward, list(texts.values()), max_tokens)
                accuracies = retrieval(own, pivot[:, list(texts)], centred)
                found.append(Alignment(code, len(texts), tuple(accuracies.tolist())))
                if progress is not None:
                    progress(done, len(self.others))
        return found

    def _embed(
        self,
        layers: Sequence[nn.Module],
        forward: Forward,
        texts: Sequence[Sequence[int]],
        max_tokens: int,
    ) -> Tensor:
        return embed(layers, forward, texts, self.end_of_text, max_tokens)


def embed(
    layers: Sequence[nn.Module],
    forward: Forward,
    texts: Sequence[Sequence[int]],
    end_of_text: int,
    max_tokens: int,
) -> Tensor:
    """Return the mean hidden state of each text at each layer, float32 [layers + 1, texts, hidden].

    The end-of-text token before each text is not in the mean: its states can be far larger than
    others' (in SmolLM2-135M by a hundred times). Hooks see the states of plain and fused layers, so
    that one layer's of one forward are kept at once, and the means, which are on the CPU.

    Args:
        layers: decoder layers, in order.
        forward: runs them.
        texts: token ids, at least one each.
        end_of_text: stands before each text.
        max_tokens: of a forward; longer texts are cut.
    """
    pieces = [
        Window(index, 0, min(len(text) + 1, max_tokens), 0) for index, text in enumerate(texts)
    ]
    device = next(layers[0].parameters()).device
    means: list[list[Tensor | None]] = [[None] * len(texts) for _ in range(len(layers) + 1)]
    for row in pack(pieces, max_tokens):
        inputs = [[end_of_text, *texts[piece.sequence]][: piece.length] for piece in row]
        ids = torch.tensor([[token for text in inputs for token in text]], device=device)
        places = torch.cat([torch.arange(piece.length) for piece in row])[None].to(device)

        def keep(layer: int, states: Tensor, row: Sequence[Window] = row) -> None:
            parts = torch.split(states[0], [piece.length for piece in row])
            pooled = torch.stack([part[1:].float().mean(0) for part in parts]).cpu()
            for piece, mean in zip(row, pooled, strict=True):
                means[layer][piece.sequence] = mean

        with _watched(layers, keep):
            forward(ids, places)
    return torch.stack([torch.stack(layer) for layer in means])  # type: ignore[arg-type]


@contextmanager
def _watched(layers: Sequence[nn.Module], keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        keep(0, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            keep(layer, output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [
        layer.register_forward_hook(after(number)) for number, layer in enumerate(layers, start=1)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def retrieval(a: Tensor, b: Tensor, centred: bool = True) -> Tensor:
    """Return the share of texts whose nearest by cosine is their translation, [layers] float64.

    Args:
        a: [layers, texts, hidden].
        b: their translations, likewise. The share is over a → b and b → a.
        centred: take the mean over the texts off first.

    Where several are equally near, the translation among them, it counts as one in so many.
    """
    a, b = (_directions(x.double(), centred) for x in (a, b))
    cosines = a @ b.transpose(1, 2)
    right = cosines.diagonal(dim1=1, dim2=2)
    shares = []
    for direction in (2, 1):
        best = cosines.amax(direction)
        # equal embeddings, whose cosines differ by rounding alone
        ties = (cosines >= best.unsqueeze(direction) - 1e-12).sum(direction)
        shares.append(((right >= best - 1e-12).double() / ties).mean(1))
    return (shares[0] + shares[1]) / 2


def _directions(x: Tensor, centred: bool) -> Tensor:
    if centred:
        x = x - x.mean(1, keepdim=True)
    return nn.functional.normalize(x, dim=2)


def profile(found: Sequence[Alignment]) -> list[float]:
    """Return the mean over the languages of every layer's accuracy, [layers + 1]."""
    layers = zip(*(each.accuracies for each in found), strict=True)
    return [math.fsum(layer) / len(layer) for layer in layers]
