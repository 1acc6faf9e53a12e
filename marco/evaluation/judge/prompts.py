"""What the judge is asked, and the verdict in what it says.

In our own words after MT-bench's pairwise prompts (Zheng et al., arXiv 2306.05685, figures 5, 8
and 9): of one turn, of a later turn with the conversation before it, and with a reference where
there is one. New is that an answer should be in the user's language.
"""

from __future__ import annotations

import re
from typing import Literal

from marco.evaluation.judge.answer_files import Turns
from marco.evaluation.judge.questions import Question
from marco.languages import get

Verdict = Literal["A", "B", "C"]
Messages = list[dict[str, str]]

_SYSTEM = """\
You are an impartial judge of two AI assistants, A and B, that answered the same user. Say which \
of them {task}.
Weigh how well each follows the user's instructions, and how helpful, relevant, accurate, deep, \
creative and detailed it is. The user writes in {language}: an answer in another language is \
worse, unless the user asked for one.{reference}
Do not let the order in which the answers stand, their length or the assistants' names influence \
you. Compare the answers first, in a short explanation. Then close with your verdict in exactly \
this form: [[A]] if assistant A is better, [[B]] if assistant B is better, [[C]] for a tie."""
_ONE_TURN = "answered better"
_LATER_TURN = (
    "answered the user's last message better. What was said before it is there to understand that "
    "message by, and is not judged"
)
_REFERENCE = (
    " A reference answer is given: find the mistakes of each assistant by comparing with it first."
)
_VERDICT = re.compile(r"\[\[([ABC])\]\]")


def ask(question: Question, turn: int, first: Turns, second: Turns) -> Messages:
    """Return the messages that ask for a verdict.

    Args:
        question: all its turns.
        turn: the one that is judged, counted from 0.
        first: assistant A's answers.
        second: assistant B's.
    """
    references = [question.reference(each) for each in range(turn + 1)]
    judged = bool(references[turn].strip())
    system = _SYSTEM.format(
        task=_LATER_TURN if turn else _ONE_TURN,
        language=get(question.language).name,
        reference=_REFERENCE if judged else "",
    )
    parts = []
    if turn == 0:
        parts.append(_block("the user's message", question.turns[0]))
        if judged:
            parts.append(_block("the reference answer", references[0]))
        parts += [_block(f"assistant {who}'s answer", answers[0])
                  for who, answers in (("A", first), ("B", second))]  # fmt: skip
    else:
        if judged:
            parts.append(
                _block("the reference answers", _conversation(question, references, "Reference"))
            )
        parts += [
            _block(
                f"the conversation with assistant {who}",
                _conversation(question, answers[: turn + 1], f"Assistant {who}"),
            )
            for who, answers in (("A", first), ("B", second))
        ]
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def verdict(text: str) -> Verdict | None:
    """Return the verdict: the last one there is, since a judge may speak of others before."""
    found: list[Verdict] = _VERDICT.findall(text)
    return found[-1] if found else None


def _block(title: str, text: str) -> str:
    return f"[Beginning of {title}]\n{text}\n[End of {title}]"


def _conversation(question: Question, answers: Turns | list[str], who: str) -> str:
    return "\n\n".join(
        f"### User:\n{said}\n\n### {who}:\n{answer}"
        for said, answer in zip(question.turns, answers, strict=False)
    )
