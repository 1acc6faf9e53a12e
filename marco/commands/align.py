"""How well each layer of a model aligns languages with English, over parallel paragraphs.

marco align model.path=runs/last
marco align model.path=Qwen/Qwen2-0.5B languages=[swh,yor,cmn] plot=alignment.png

model.path=…         a run, a folder of transformers, a .gguf file or a hub name
model.checkpoint=…   of a run: a step, last or best
languages=[…]        left out, the 29 of Marco-LLM
articles=1-30        of the Universal Declaration of Human Rights; a run holds out 26-30
centred=true         take each language's mean embedding off before comparing
max_tokens=2048      in one forward
output=text          json prints one JSON object a language
plot=…               also draw language by layer into this PNG
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.errors import CheckpointError, ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from marco.evaluation.alignment import Alignment
    from marco.tokenizers import Tokenizer

DEFAULTS = {
    "model.path": "",
    "model.checkpoint": "",
    "languages": "",
    "articles": "1-30",
    "centred": "true",
    "max_tokens": "2048",
    "output": "text",
    "plot": "",
}
LANGUAGES = (
    "eng", "cmn", "arb", "deu", "spa", "fra", "jpn", "kor", "por", "tur", "azj", "ben", "ces",
    "ell", "heb", "hun", "ind", "ita", "kaz", "zlm", "npi", "nld", "pol", "ron", "rus", "tha",
    "ukr", "urd", "vie",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Load the model, measure, print."""
    parser = argparse.ArgumentParser(
        prog="marco align",
        usage="marco align model.path=… [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    options = _options(parser.parse_args(arguments).overrides)
    names = [name.strip() for name in options["languages"].strip("[]").split(",") if name.strip()]

    from marco.data.udhr import article_numbers
    from marco.languages import canonical
    from marco.models.kernels import Kernels
    from marco.training.loading import ModelChoice

    article_numbers("articles", options["articles"])
    codes = canonical(names) if names else list(LANGUAGES)
    model = ModelChoice(options["model.path"], options["model.checkpoint"] or None)
    loaded = model.load(Kernels())
    found = align(
        loaded.root.network,
        loaded.tokenizer,
        codes,
        articles=options["articles"],
        centred=options["centred"] == "true",
        max_tokens=int(options["max_tokens"]),
    )
    report(found, options["output"])
    if options["plot"]:
        from marco.evaluation.alignment_plot import alignment_heatmap

        alignment_heatmap(Path(options["plot"]), found)
    return 0


def align(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    languages: Sequence[str],
    *,
    articles: str = "1-30",
    centred: bool = True,
    max_tokens: int = 2048,
) -> list[Alignment]:
    """Measure a loaded model, plain or fused.

    Args:
        network: a Qwen2 or Qwen3 of transformers.
        tokenizer: its vocabulary.
        languages: canonical codes.
        articles: see `Probe`.
        centred: see `marco.evaluation.alignment`.
        max_tokens: in one forward.

    Raises:
        ConfigError: no such article; no language with paragraphs; a model without `layers`.
        CheckpointError: the model gives no numbers.
    """
    from marco.evaluation.alignment import Probe
    from marco.models.attention import packings
    from marco.models.fused import is_fused, layers_of

    layers = layers_of(network)
    if not layers:
        raise ConfigError(f"a {type(network).__name__} has no decoder layers to look into.")

    def forward(ids: Any, positions: Any) -> None:
        masks = packings(network.config, positions) if is_fused(network) else None
        network.base_model(
            input_ids=ids, attention_mask=masks, position_ids=positions, use_cache=False
        )

    probe = Probe.of(languages, tokenizer.encode_batch, tokenizer.end_of_text, articles)
    if not probe.others:
        raise ConfigError(
            f"languages={','.join(languages)}: none but English has paragraphs in "
            f"articles={articles}."
        )
    found = probe.run(network, layers, forward, max_tokens=max_tokens, centred=centred)
    if any(math.isnan(value) for each in found for value in each.accuracies):
        raise CheckpointError("The model's hidden states are not numbers: its weights are damaged.")
    return found


def report(found: Sequence[Alignment], output: str) -> None:
    """Print a line a language, and the mean of every layer."""
    import json

    from marco.evaluation.alignment import profile
    from marco.languages import get

    if output == "json":
        for each in found:
            print(json.dumps(each.as_dict()))
        return
    print(f"{'language':<24}{'paragraphs':>10}{'chance':>8}{'best':>7}{'layer':>7}")
    for each in sorted(found, key=lambda each: -each.accuracies[each.layer]):
        best = each.accuracies[each.layer]
        name = f"{get(each.language).name} ({each.language})"
        print(f"{name:<24}{each.n:>10}{1 / each.n:>8.3f}{best:>7.3f}{each.layer:>7}")
    print("\nmean by layer, from the embeddings up:")
    print(" ".join(f"{value:.3f}" for value in profile(found)))


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options = dict(DEFAULTS)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in DEFAULTS:
            raise ConfigError(f"{argument}: `marco align` has no such key.{nearest(key, DEFAULTS)}")
        options[key] = value
    if not options["model.path"]:
        raise ConfigError("model.path=… must be given: the model to look into.")
    for key, allowed in {"output": ("text", "json"), "centred": ("true", "false")}.items():
        if options[key] not in allowed:
            guess = nearest(options[key], allowed)
            raise ConfigError(f"{key}={options[key]}: {' or '.join(allowed)}.{guess}")
    if not options["max_tokens"].isdecimal() or int(options["max_tokens"]) < 2:
        raise ConfigError(f"max_tokens={options['max_tokens']} should be a whole number from 2.")
    return options
