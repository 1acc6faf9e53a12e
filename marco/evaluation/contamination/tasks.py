"""What lm-eval's documents hold: items of the option-order test, and text to look up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marco.evaluation.contamination.choices import ChoiceItem, choice_item
from marco.evaluation.harness.prepared import PreparedTask
from marco.evaluation.items import content_id


def choice_items(prepared: PreparedTask) -> list[ChoiceItem]:
    """Return the items of a task that are asked with all their options in the prompt.

    Prompts are without examples, as in the paper. A task's letters (`doc_to_choice`) are replaced
    by the texts that its rows hold (`choices`). Of a task that is no multiple choice there are
    none, nor of one whose prompts list no options (ARC, XCOPA).
    """
    task = prepared.task
    if prepared.failure is not None or task.OUTPUT_TYPE != "multiple_choice":
        return []
    found = []
    for doc in _documents(prepared):
        prompt = task.doc_to_text(doc)
        if isinstance(prompt, str):
            item = choice_item(
                content_id(doc), prepared.language, prompt, task.doc_to_choice(doc), doc
            )
            found += [item] if item is not None else []
    return found


def texts(prepared: PreparedTask) -> list[str]:
    """Return each document's prompt, without examples, with its right answer behind it."""
    if prepared.failure is not None:
        return []
    return [_text(prepared.task, doc) for doc in _documents(prepared)]


def _text(task: Any, doc: dict[str, Any]) -> str:
    prompt, target = task.doc_to_text(doc), task.doc_to_target(doc)
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(doc)
        # a number is the place of a choice; of Winograd sentences the prompt is the choice
        prompt, target = (
            choices[value] if isinstance(value, int) and 0 <= value < len(choices) else value
            for value in (prompt, target)
        )
    answers = [str(each) for each in (target if isinstance(target, list) else [target])]
    return "\n".join([str(prompt), *answers])


def _documents(prepared: PreparedTask) -> Iterator[dict[str, Any]]:
    seen = set()
    for request in prepared.requests:
        if request.doc_id not in seen:
            seen.add(request.doc_id)
            yield request.doc
