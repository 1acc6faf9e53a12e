"""The model that lm-eval's tasks ask: the numbers of its own ``HFLM``, sooner."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from marco.evaluation.lm.cache import RequestCache
from marco.evaluation.lm.encode import Encoder
from marco.evaluation.lm.generate import generate
from marco.evaluation.lm.generate_settings import left_truncated, settings_of, text_of
from marco.evaluation.lm.prefixes import Question
from marco.evaluation.lm.scores import Answer, answers
from marco.evaluation.scoring import ALONE, Progress, Shard

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: lm-eval's, of a model that does not say how much it takes.
DEFAULT_LENGTH = 2048

#: Tokens in one forward, by kind of device. On a CPU more take longer (15 % at 2,400, Qwen2-0.5B's
#: layers): their activations are so large that the operating system finds their pages anew.
TOKENS = {"cpu": 1024, "cuda": 4096}


class MarcoLM(LM):  # type: ignore[misc]
    """A causal model of transformers in lm-eval's interface.

    Requests are answered in one process, or shared over data-parallel ranks that all ask the same:
    lm-eval's own sharding is not used (``rank`` is 0 of 1 everywhere).

    Args:
        network: a Qwen2 or Qwen3, plain or fused; also one that is training.
        tokenizer: of transformers.
        vocabulary_limit: ids from there on get no probability; None: all rows of the head do.
        max_length: tokens that the model takes; None: what its config says.
        max_tokens: tokens in one forward; None: as many as suit the device.
        end_of_text: what a text without context is conditioned on; None: the tokenizer's.
        shard: this process's share of the work.
        cache: responses of earlier evaluations; on several ranks each has one (`RequestCache`).
        progress: called with what is done and what there is in all after every forward.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        vocabulary_limit: int | None = None,
        max_length: int | None = None,
        max_tokens: int | None = None,
        end_of_text: int | None = None,
        shard: Shard = ALONE,
        cache: RequestCache | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.vocabulary_limit = vocabulary_limit
        own: int = getattr(network.config, "max_position_embeddings", DEFAULT_LENGTH)
        self.max_length = max_length or own
        self.max_tokens = max_tokens or TOKENS.get(network.device.type, 4096)
        self.progress = progress
        self._shard = shard
        self._cache = cache
        first = tokenizer.bos_token_id if end_of_text is None else end_of_text
        self._encoder = Encoder(tokenizer, tokenizer.eos_token_id if first is None else first)
        self._first = tokenizer.eos_token_id if first is None else first

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name, in lm-eval's own caches."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template that prompts are rendered with, or nothing."""
        return str(self.tokenizer.chat_template or "") if chat_template else ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Render messages as the model was trained to read them."""
        return render_chat(self.tokenizer, chat_history, add_generation_prompt)

    def loglikelihood(self, requests: Sequence[Instance]) -> list[Answer]:
        """Return (log-likelihood in nats, whether it is the greedy one) of each continuation."""
        return self._kept("loglikelihood", [request.args for request in requests], self._pairs)

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """Return the log-likelihood in nats of each whole text, window by window."""
        texts = [request.args for request in requests]
        return self._kept("loglikelihood_rolling", texts, self._texts)

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Return what the model writes after each context, up to its stop strings."""
        return self._kept("generate_until", [request.args for request in requests], self._written)

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        made = [
            Question(tuple([*context, *rest][-(self.max_length + 1) :]), len(rest))
            for context, rest in self._encoder.pairs(pairs)
        ]

        def found(index: int, answer: Answer) -> None:
            self._keep("loglikelihood", pairs[index], answer)

        return self._answers(made, found)

    def _texts(self, texts: Sequence[tuple[str]]) -> list[float]:
        windows = [
            (index, *make_disjoint_window(window))
            for index, tokens in enumerate(self._encoder.texts([text for (text,) in texts]))
            for window in get_rolling_token_windows(tokens, self._first, self.max_length, 1)
        ]
        questions = [Question((*before, *rest), len(rest)) for _, before, rest in windows]
        so_far = [0.0] * len(texts)
        missing = Counter(index for index, *_ in windows)

        def found(at: int, answer: Answer) -> None:
            index = windows[at][0]
            so_far[index] += answer[0]
            missing[index] -= 1
            if not missing[index]:
                self._keep("loglikelihood_rolling", texts[index], so_far[index])

        totals = [0.0] * len(texts)
        for (index, *_), (nats, _) in zip(windows, self._answers(questions, found), strict=True):
            totals[index] += nats
        return totals

    def _answers(self, questions: Sequence[Question], found: Any) -> list[Answer]:
        return answers(
            self.network,
            questions,
            self.max_tokens,
            vocabulary_limit=self.vocabulary_limit,
            shard=self._shard,
            progress=self.progress,
            found=found,
        )

    def _written(self, asked: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        alike: dict[str, list[int]] = {}
        for index, (_, how) in enumerate(asked):
            alike.setdefault(json.dumps(how, sort_keys=True), []).append(index)
        written = [""] * len(asked)
        for indices in alike.values():
            texts = self._written_alike([asked[index] for index in indices])
            for index, text in zip(indices, texts, strict=True):
                written[index] = text
        return written

    def _written_alike(self, asked: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Go on after contexts that are asked in the same way."""
        how = asked[0][1]
        settings = settings_of(how, self.tokenizer, self.network.generation_config)
        contexts = self._encoder.texts([context for context, _ in asked])
        prompts = [
            left_truncated(context or [self._first], self.max_length, settings.max_new_tokens)
            for context in contexts
        ]

        def found(index: int, tokens: list[int]) -> None:
            if not settings.samples:
                text = text_of(tokens, self.tokenizer, settings.stop)
                self._keep("generate_until", asked[index], text)

        made = generate(
            self.network,
            prompts,
            settings,
            tokenizer=self.tokenizer,
            vocabulary_limit=self.vocabulary_limit,
            shard=self._shard,
            progress=self.progress,
            found=found,
        )
        return [text_of(tokens, self.tokenizer, settings.stop) for tokens in made]

    def _kept(self, kind: str, asked: Sequence[Any], answer: Any) -> list[Any]:
        """Answer what the cache does not know."""
        known: list[Any] = [
            None if self._cache is None else self._cache.get(kind, each) for each in asked
        ]
        open_ = [index for index, response in enumerate(known) if response is None]
        if open_:
            made = answer([asked[index] for index in open_])
            for index, response in zip(open_, made, strict=True):
                known[index] = response
                if self._cache is not None and self._shard.size > 1 and kind != "generate_until":
                    self._cache.learn(kind, asked[index], response)
        if kind == "loglikelihood":
            return [(float(nats), bool(same)) for nats, same in known]
        return list(known)

    def _keep(self, kind: str, request: Any, response: Any) -> None:
        if self._cache is not None:
            self._cache.put(kind, request, response)


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    chat_history: list[dict[str, str]],
    add_generation_prompt: bool = True,
) -> str:
    """Render messages by a tokenizer's chat template, as lm-eval does."""
    rendered: str = tokenizer.apply_chat_template(
        chat_history,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
    )
    return rendered
