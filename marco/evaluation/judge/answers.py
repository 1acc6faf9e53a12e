"""A model's answers to the questions, turn by turn, in its own chat template."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError
from marco.evaluation.judge.answer_files import Turns
from marco.evaluation.judge.questions import Question
from marco.evaluation.lm.cache import RequestCache
from marco.evaluation.lm.generate import generate
from marco.evaluation.lm.generate_settings import (
    GenerationSettings,
    left_truncated,
    settings_of,
    text_of,
)
from marco.evaluation.scoring import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

#: MT-bench's, by category (FastChat's ``temperature_config``).
TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
OTHER_TEMPERATURE = 0.7
KIND = "chat_answer"
#: Answers that are made, and then kept, together.
TOGETHER = 64


@dataclass(frozen=True)
class Answering:
    """How models answer (``answering`` of ``conf/judge.yaml``).

    Attributes:
        max_new_tokens: at most so many a turn; MT-bench has 1024.
        temperature: of every answer; None: MT-bench's, by category.
        seed: of sampling.
        template_options: what the chat template knows beyond messages (``enable_thinking``).
        max_tokens: places of the key-value cache, over all prompts that are worked on at once.
    """

    max_new_tokens: int = 1024
    temperature: float | None = None
    seed: int = 0
    template_options: dict[str, Any] = field(default_factory=dict)
    max_tokens: int = 32_768

    def __post_init__(self) -> None:
        """Raise ConfigError, naming the key, for what cannot be."""
        for key, least in (("max_new_tokens", 1), ("max_tokens", 1), ("seed", 0)):
            if getattr(self, key) < least:
                raise ConfigError(
                    f"answering.{key}={getattr(self, key)} should be {least} or more."
                )
        if self.temperature is not None and self.temperature < 0:
            raise ConfigError(f"answering.temperature={self.temperature} should be 0 or more.")

    def temperature_of(self, question: Question) -> float:
        """Return the temperature that a question is answered at."""
        if self.temperature is not None:
            return self.temperature
        return TEMPERATURES.get(question.category, OTHER_TEMPERATURE)


def answer(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    how: Answering,
    *,
    vocabulary_limit: int | None = None,
    cache: RequestCache | None = None,
    progress: Progress | None = None,
) -> list[Turns]:
    """Return the answers to each question, a text a turn; a turn is asked with the ones before it.

    Args:
        network: a causal language model, in evaluation mode.
        tokenizer: with a chat template.
        questions: of any number of turns.
        how: settings.
        vocabulary_limit: the tokenizer's length.
        cache: answers that are known already.
        progress: called with (answers made, answers in all).

    Raises:
        ConfigError: the tokenizer has no chat template, or there is no room for a prompt.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            "the tokenizer has no chat template, so this is no chat model: one cannot ask it "
            "questions."
        )
    made: list[list[str]] = [[] for _ in questions]
    total = sum(len(question.turns) for question in questions)
    done = 0
    for turn in range(max(len(question.turns) for question in questions)):
        alike: dict[float, list[int]] = {}
        for index, question in enumerate(questions):
            if turn < len(question.turns):
                alike.setdefault(how.temperature_of(question), []).append(index)
        for temperature, indices in alike.items():
            settings = _settings(network, tokenizer, how, temperature)
            prompts = [
                _prompt(network, tokenizer, questions[index], made[index], how) for index in indices
            ]
            texts = _texts(
                network,
                tokenizer,
                prompts,
                settings,
                vocabulary_limit,
                cache,
                progress,
                done,
                total,
            )
            for index, text in zip(indices, texts, strict=True):
                made[index].append(text)
            done += len(indices)
    return [tuple(each) for each in made]


def _settings(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    how: Answering,
    temperature: float,
) -> GenerationSettings:
    asked = {
        "max_gen_toks": how.max_new_tokens,
        "temperature": temperature,
        "do_sample": temperature > 0,
        "until": [],
    }
    return settings_of(
        asked, tokenizer, network.generation_config, seed=how.seed, max_tokens=how.max_tokens
    )


def _prompt(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    question: Question,
    made: Sequence[str],
    how: Answering,
) -> tuple[int, ...]:
    messages = []
    for turn in range(len(made) + 1):
        messages.append({"role": "user", "content": question.turns[turn]})
        if turn < len(made):
            messages.append({"role": "assistant", "content": made[turn]})
    tokens = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
        **how.template_options,
    )
    room: int = network.config.max_position_embeddings
    cut = left_truncated(tokens, room, how.max_new_tokens)
    if len(cut) < len(tokens):
        log.warning(
            "Question %s of %s, turn %d: the first %d of %d tokens are left out, since the model "
            "takes %d.",
            *(question.id, question.language, len(made) + 1),
            *(len(tokens) - len(cut), len(tokens), room),
        )
    return tuple(cut)


def _texts(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[tuple[int, ...]],
    settings: GenerationSettings,
    vocabulary_limit: int | None,
    cache: RequestCache | None,
    progress: Progress | None,
    before: int,
    total: int,
) -> list[str]:
    """Answer equal prompts once, and those that the cache knows not at all."""
    found: dict[tuple[int, ...], str] = {}
    keys = {prompt: [*prompt, asdict(settings)] for prompt in dict.fromkeys(prompts)}
    for prompt, key in keys.items():
        known = None if cache is None else cache.get(KIND, key)
        if known is not None:
            found[prompt] = known
    rest = [prompt for prompt in keys if prompt not in found]
    for start in range(0, len(rest), TOGETHER):
        some = rest[start : start + TOGETHER]
        tokens = generate(
            network,
            some,
            settings,
            tokenizer=tokenizer,
            vocabulary_limit=vocabulary_limit,
            progress=None if progress is None else _moved(progress, before + len(found), total),
        )
        for prompt, each in zip(some, tokens, strict=True):
            found[prompt] = text_of(each, tokenizer, settings.stop)
            if cache is not None:
                cache.put(KIND, keys[prompt], found[prompt])
    return [found[prompt] for prompt in prompts]


def _moved(progress: Progress, before: int, total: int) -> Progress:
    """Count on from what was done before."""
    return lambda done, _: progress(before + done, total)
