"""See what a model writes: one prompt, a file of them, or a language's own.

marco generate model.path=runs/last language=[swh,tha]
marco generate model.path=runs/last prompt="Watu wote" language=swh temperature=0.8
marco generate model.path=runs/last file=prompts.jsonl output=json > answers.jsonl

language alone takes the beginnings of its held-out articles, and shows how they go on; with a
prompt it says whether the answer is in that language. All keys are in conf/generate.yaml.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marco.config.generate import GenerateSettings
    from marco.evaluation.generations.identifier import Identifier
    from marco.evaluation.prompts import Prompt


def main(arguments: list[str]) -> int:
    """Check, load the model, and print what it writes after every prompt."""
    parser = argparse.ArgumentParser(
        prog="marco generate",
        usage="marco generate model.path=… (prompt=… | file=… | language=…) [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", help="search your own configs first")
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)

    from marco.config import Sources, bind_root, compose, container
    from marco.config.generate import GenerateSettings

    extra = None if given.config_dir is None else Path(given.config_dir)
    # A prompt is any text: commas and quotes are no syntax in it.
    texts = [each for each in given.overrides if each.startswith("prompt=")]
    rest = [each for each in given.overrides if each not in texts]
    cfg = container(compose(rest, sources=Sources(extra=extra, name="generate")))
    if texts:
        cfg["prompt"] = texts[-1].removeprefix("prompt=")
    settings = bind_root(cfg, GenerateSettings)
    settings.model.check()
    settings.kernels.check("cpu" if settings.model.device == "cpu" else "auto")
    prompts = _prompts(settings)
    written = _write(settings, prompts)

    from marco.evaluation.generations.identifier import Identifier

    identifier = Identifier([p.language for p in prompts if p.language is not None])
    for prompt, text in zip(prompts, written, strict=True):
        verdict = None if prompt.language is None else identifier.wrong(text, prompt.language)
        if settings.output == "json":
            print(json.dumps(_record(prompt, text, verdict), ensure_ascii=False))
        else:
            _show(prompt, text, verdict, identifier)
    return 0


def _prompts(settings: GenerateSettings) -> list[Prompt]:
    from marco.evaluation.prompts import Prompt, of_file, of_languages

    language = settings.languages[0] if len(settings.languages) == 1 else None
    if settings.prompt is not None:
        return [Prompt(settings.prompt, language)]
    if settings.file is not None:
        return of_file(settings.file.expanduser(), language)
    return of_languages(settings.languages)


def _write(settings: GenerateSettings, prompts: Sequence[Prompt]) -> list[str]:
    """Load the model and let it go on after every prompt."""
    from marco.errors import ConfigError
    from marco.evaluation.lm.generate import generate
    from marco.evaluation.lm.generate_settings import GenerationSettings, left_truncated, text_of
    from marco.evaluation.lm.model import render_chat
    from marco.training.allocator import keep_few_primitives, keep_pages

    how: dict[str, Any] = {
        key: getattr(settings, key)
        for key in (
            "max_new_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed",
        )
    }  # fmt: skip
    GenerationSettings(stop=tuple(settings.stop), **how)  # says what is wrong before it loads
    keep_few_primitives()
    keep_pages()
    loaded = settings.model.load(settings.kernels)
    network, tokenizer = loaded.root.network, loaded.tokenizer.transformers()
    ends = [loaded.tokenizer.end_of_text, tokenizer.eos_token_id]
    wanted = GenerationSettings(
        stop=tuple(settings.stop), end=tuple({end for end in ends if end is not None}), **how
    )
    texts = [prompt.text for prompt in prompts]
    if settings.chat:
        if not tokenizer.chat_template:
            raise ConfigError(
                f"chat=true: the tokenizer of {settings.model.path} has no chat template, so this "
                "is no chat model."
            )
        texts = [render_chat(tokenizer, [{"role": "user", "content": text}]) for text in texts]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    longest: int = network.config.max_position_embeddings
    made = generate(
        network,
        [left_truncated(ids, longest, settings.max_new_tokens) for ids in encoded],
        wanted,
        tokenizer=tokenizer,
        vocabulary_limit=len(loaded.tokenizer),
    )
    return [text_of(tokens, tokenizer, settings.stop) for tokens in made]


def _record(prompt: Prompt, text: str, wrong: bool | None) -> dict[str, Any]:
    return {
        "prompt": prompt.text,
        "language": prompt.language,
        "text": text,
        "reference": prompt.reference,
        "wrong_language": wrong,
    }


def _show(prompt: Prompt, text: str, wrong: bool | None, identifier: Identifier) -> None:
    from rich.text import Text

    from marco.languages import get
    from marco.tracking.console import console

    screen = console()
    if prompt.language is not None:
        name = get(prompt.language).name
        reason = identifier.reason(prompt.language) or "too short to tell its language"
        said = {True: "not in this language", False: "in this language", None: reason}[wrong]
        screen.rule(f"{name}: {said}", align="left", style="red" if wrong else "dim")
    else:
        screen.rule(style="dim")
    screen.print(Text(prompt.text, style="dim").append(text, style="not dim bold"))
    if prompt.reference is not None:
        screen.print(Text(f"({prompt.reference.strip()})", style="italic dim"))
