"""lm-eval's multiple-choice tasks as items of the option-order test, and its models as a score."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError
from marco.evaluation.contamination.choices import ChoiceItem, choice_item
from marco.evaluation.contamination.option_order import Score

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask


def choice_items(
    task: ConfigurableTask, language: str, limit: int | None = None
) -> list[ChoiceItem]:
    """Return the items of a task that are asked with all their options in the prompt.

    Prompts are without examples, as in the paper. A task's letters (`doc_to_choice`) are replaced
    by the texts that its rows hold (`marco.evaluation.contamination.choices`).

    Args:
        task: of output type multiple_choice.
        language: canonical code.
        limit: of the task's documents, the first so many.

    Raises:
        ConfigError: another output type, or not one item with its options in the prompt.
    """
    name = task.config.task
    if task.OUTPUT_TYPE != "multiple_choice":
        raise ConfigError(
            f"{name} is a task of type {task.OUTPUT_TYPE}: the option-order test is for "
            "multiple_choice."
        )
    items = []
    for doc in itertools.islice(task.eval_docs, limit):
        prompt, choices = task.doc_to_text(doc), task.doc_to_choice(doc)
        if isinstance(prompt, str):
            item = choice_item(_id(doc), language, prompt, choices, doc)
            items += [item] if item is not None else []
    if not items:
        raise ConfigError(
            f"{name}: its prompts do not list the options, so their order cannot be tested."
        )
    return items


def likelihoods(model: LM) -> Score:
    """Return lm-eval's `loglikelihood` of a model as the option-order test takes it."""
    from lm_eval.api.instance import Instance

    def score(pairs: list[tuple[str, str]]) -> list[float]:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=number)
            for number, pair in enumerate(pairs)
        ]
        return [float(loglikelihood) for loglikelihood, _ in model.loglikelihood(requests)]

    return score


def _id(doc: dict[str, Any]) -> str:
    text = json.dumps(doc, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
