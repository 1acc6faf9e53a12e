"""How to generate, and what lm-eval's ``generation_kwargs`` mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

#: lm-eval's `HFLM.max_gen_toks`.
MAX_NEW_TOKENS = 256
#: transformers' own, of a model that says nothing.
TOP_K = 50
_ALIASES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_TAKEN = ("until", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
#: What asks for nothing, so that it may stand there.
_HARMLESS = {"num_beams": 1, "num_return_sequences": 1, "use_cache": True}
#: What a model's generation_config.json may ask for that is not done here, and what asks nothing.
_NOT_DONE: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "min_new_tokens": (None, 0),
    "min_length": (None, 0),
    "penalty_alpha": (None, 0),
    "guidance_scale": (None, 1),
    "sequence_bias": (None,),
}
_NOT_SAMPLED = {"typical_p": (None, 1.0), "epsilon_cutoff": (None, 0.0), "eta_cutoff": (None, 0.0)}


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How every prompt of one call is continued.

    Attributes:
        max_new_tokens: at most so many tokens a prompt.
        stop: a continuation ends as soon as its text holds one of these.
        end: ids that end a continuation (end of text, end of turn).
        temperature: what logits are divided by where tokens are sampled.
        do_sample: None samples where the temperature is above 0, else the likeliest token is taken.
        top_k, top_p, min_p: which tokens may be sampled, as in transformers and in its order: the
            `top_k` likeliest, the fewest likeliest that together have `top_p`, those with at least
            `min_p` of the likeliest one's probability.
        repetition_penalty: of every token in the prompt or the continuation (arXiv 1909.05858);
            1 is none.
        seed: of sampling. What is drawn for a prompt follows from it, the prompt, and how many
            equal prompts came before, not from the others.
        max_tokens: places of the key-value cache, over all prompts that are worked on at once.
    """

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    end: tuple[int, ...] = ()
    temperature: float = 0.0
    do_sample: bool | None = None
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_tokens: int = 32_768

    def __post_init__(self) -> None:
        for key in ("max_new_tokens", "max_tokens"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}={getattr(self, key)} must be at least 1.")
        if self.temperature < 0 or (self.do_sample and self.temperature == 0):
            raise ConfigError(
                f"temperature={self.temperature}: sampling needs one above 0; 0 takes the "
                "likeliest token each time."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k} must be at least 1, or null.")
        for key in ("top_p", "min_p"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key}={getattr(self, key)} is a probability: 0 to 1.")
        if self.repetition_penalty <= 0:
            raise ConfigError(f"repetition_penalty={self.repetition_penalty} must be above 0.")
        if "" in self.stop:
            raise ConfigError("stop: an empty string would end everything before it begins.")

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn, not chosen."""
        return self.temperature > 0 if self.do_sample is None else self.do_sample


def settings_of(
    gen_kwargs: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    generation_config: GenerationConfig | None = None,
    *,
    default_max_new_tokens: int = MAX_NEW_TOKENS,
    **ours: Any,
) -> GenerationSettings:
    """Translate a task's ``generation_kwargs`` as lm-eval's ``HFLM.generate_until`` takes them.

    ``generation_config`` is the model's: transformers goes by its end tokens and its repetition
    penalty, and by its ``top_k`` (else 50), ``top_p`` and ``min_p`` where it samples. ``ours`` are
    fields of the settings that lm-eval does not know (``seed``, ``max_tokens``).

    Raises:
        ConfigError: a key that is not known, or asks for what is not done here.
    """
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    _check(gen_kwargs)
    given = normalize_gen_kwargs(dict(gen_kwargs), default_max_new_tokens)
    eos = tokenizer.eos_token_id
    text = None if eos is None else tokenizer.decode([eos], skip_special_tokens=False)
    until = handle_stop_sequences([word for word in given["until"] if word], text)
    model = {} if generation_config is None else generation_config.to_dict()
    _check_model(model, samples=given["do_sample"])
    ends = model.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]

    def chosen(key: str, default: Any) -> Any:
        value = given[key] if key in given else model.get(key)
        return default if value is None else value

    return GenerationSettings(
        max_new_tokens=given["max_gen_toks"],
        stop=tuple(until),
        end=tuple(dict.fromkeys(end for end in (*ends, eos) if end is not None)),
        temperature=float(given.get("temperature") or 0),
        do_sample=given["do_sample"],
        top_k=chosen("top_k", TOP_K) or None,
        top_p=chosen("top_p", 1.0),
        min_p=chosen("min_p", 0.0),
        repetition_penalty=chosen("repetition_penalty", 1.0),
        **ours,
    )


def text_of(
    tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = ()
) -> str:
    """Return the text of a continuation, without special tokens, up to the first stop string."""
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=True)
    for word in stop:
        text = text.split(word)[0]
    return text


def left_truncated(prompt: Sequence[int], max_length: int, max_new_tokens: int) -> list[int]:
    """Return the end of a prompt that leaves room for what is generated, as lm-eval does.

    Raises:
        ConfigError: there is no room for a prompt at all.
    """
    room = max_length - max_new_tokens
    if room < 1:
        raise ConfigError(
            f"max_gen_toks={max_new_tokens} leaves no room for a prompt: the model takes "
            f"{max_length} tokens."
        )
    return list(prompt)[-room:]


def _check(gen_kwargs: Mapping[str, Any]) -> None:
    known = (*_ALIASES, *_TAKEN, *_HARMLESS)
    for key, value in gen_kwargs.items():
        if key == "max_length":
            raise ConfigError("generation_kwargs.max_length counts the prompt: say max_gen_toks.")
        if key not in known:
            raise ConfigError(f"generation_kwargs.{key} is not known.{nearest(key, known)}")
        if key in _HARMLESS and value != _HARMLESS[key]:
            raise ConfigError(f"generation_kwargs.{key}={value}: only {_HARMLESS[key]} is done.")


def _check_model(model: Mapping[str, Any], *, samples: bool) -> None:
    for key, nothing in (_NOT_DONE | (_NOT_SAMPLED if samples else {})).items():
        if model.get(key) not in nothing:
            raise ConfigError(
                f"The model's generation_config.json asks for {key}={model[key]}, "
                "which is not done here."
            )
