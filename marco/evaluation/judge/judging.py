"""Every turn of every question, judged in both orders."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from marco.evaluation.judge.answer_files import Turns
from marco.evaluation.judge.endpoint import JudgeError
from marco.evaluation.judge.prompts import Messages, Verdict, ask, verdict
from marco.evaluation.judge.questions import Question
from marco.evaluation.lm.cache import RequestCache
from marco.evaluation.results.files import replace_file
from marco.evaluation.scoring import Progress

log = logging.getLogger(__name__)

Winner = Literal["model", "baseline", "tie"]
Outcome = Literal["win", "tie", "loss"]

FILE_NAME = "judgements.jsonl"
KIND = "judgement"
#: An endpoint that failed so often in a row, each time after all its tries, is not asked again.
GIVE_UP = 32
NO_VERDICT = "no [[A]], [[B]] or [[C]] in what the judge said"

#: Gives what the judge says, or raises JudgeError; called from several threads.
Ask = Callable[[Messages], str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One turn of one question, judged in one order.

    Attributes:
        question: which one, by its place among the questions.
        turn: counted from 0.
        model_first: whether the model was assistant A.
        winner: None where there is no verdict.
        text: all that the judge said; None where it said nothing.
        failure: why there is no verdict.
    """

    question: int
    turn: int
    model_first: bool
    winner: Winner | None = None
    text: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The two judgements of one turn: the model is assistant A in the first, B in the second."""

    first: Judgement
    second: Judgement

    @property
    def outcome(self) -> Outcome | None:
        """A win or a loss only if both orders agree, else a tie: MT-bench's conservative rule.

        None if either judgement has no verdict.
        """
        one, other = self.first.winner, self.second.winner
        if one is None or other is None:
            return None
        if one != other or one == "tie":
            return "tie"
        return "win" if one == "model" else "loss"

    @property
    def disagrees(self) -> bool:
        """Whether the two orders give different verdicts."""
        return self.first.winner != self.second.winner


def judge(
    questions: Sequence[Question],
    model: Sequence[Turns],
    baseline: Sequence[Turns],
    ask_judge: Ask,
    *,
    concurrency: int = 1,
    cache: RequestCache | None = None,
    progress: Progress | None = None,
) -> list[list[Comparison]]:
    """Return the comparisons of every question, one a turn.

    A judgement that fails has its reason, and the others go on; after `GIVE_UP` failures of the
    endpoint in a row the rest fail without being asked.

    Args:
        questions: what was asked.
        model: its answers to each question, a text a turn.
        baseline: likewise.
        ask_judge: see `Ask`.
        concurrency: how many judgements are under way at once.
        cache: verdicts that are known already; failures are not kept, and asked again.
        progress: called after every judgement.
    """
    open_: dict[tuple[int, int, bool], Messages] = {}
    for index, question in enumerate(questions):
        for turn in range(len(question.turns)):
            one, other = model[index], baseline[index]
            open_[index, turn, True] = ask(question, turn, one, other)
            open_[index, turn, False] = ask(question, turn, other, one)
    found: dict[tuple[int, int, bool], Judgement] = {}
    for key, messages in open_.items():
        known = None if cache is None else cache.get(KIND, messages)
        if known is not None:
            found[key] = _judgement(key, known)
    rest = {key: messages for key, messages in open_.items() if key not in found}
    for key, said in _answers(rest, ask_judge, concurrency):
        if isinstance(said, JudgeError):
            found[key] = Judgement(*key, failure=str(said))
        else:
            found[key] = _judgement(key, said)
            if cache is not None and found[key].winner is not None:
                cache.put(KIND, rest[key], said)
        if progress is not None:
            progress(len(found), len(open_))
    return [
        [
            Comparison(found[index, turn, True], found[index, turn, False])
            for turn in range(len(question.turns))
        ]
        for index, question in enumerate(questions)
    ]


def write_judgements(
    folder: Path, questions: Sequence[Question], comparisons: Sequence[Sequence[Comparison]]
) -> Path:
    """Write ``judgements.jsonl``, all that the judge said, and return its path."""
    lines = []
    for question, turns in zip(questions, comparisons, strict=True):
        for comparison in turns:
            for each in (comparison.first, comparison.second):
                fields: dict[str, Any] = {
                    **asdict(each),
                    "question": question.id,
                    "turn": each.turn + 1,
                    "language": question.language,
                }
                lines.append(json.dumps(fields, ensure_ascii=False) + "\n")
    # what came as JSON may hold half a character
    text = "".join(lines).encode("utf-8", "replace")
    path = folder / FILE_NAME
    replace_file(path, lambda beside: beside.write_bytes(text))
    return path


def _judgement(key: tuple[int, int, bool], said: str) -> Judgement:
    found = verdict(said)
    if found is None:
        return Judgement(*key, text=said, failure=NO_VERDICT)
    return Judgement(*key, winner=_winner(found, model_first=key[2]), text=said)


def _winner(found: Verdict, *, model_first: bool) -> Winner:
    if found == "C":
        return "tie"
    return "model" if (found == "A") == model_first else "baseline"


def _answers(
    asked: dict[tuple[int, int, bool], Messages], ask_judge: Ask, concurrency: int
) -> Iterator[tuple[tuple[int, int, bool], str | JudgeError]]:
    """Yield what the judge says, as it comes."""
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="judge")
    patient = _Patience(ask_judge)
    waiting: dict[Future[str], tuple[int, int, bool]] = {}
    try:
        for key, messages in asked.items():
            waiting[pool.submit(patient, messages)] = key
        for future in as_completed(waiting):
            try:
                yield waiting[future], future.result()
            except JudgeError as error:
                yield waiting[future], error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Patience:
    """Asks the judge until it has failed `GIVE_UP` times in a row."""

    def __init__(self, ask_judge: Ask) -> None:
        self._ask = ask_judge
        self._failures = 0
        self._lock = threading.Lock()

    def __call__(self, messages: Messages) -> str:
        if self._failures >= GIVE_UP:
            raise JudgeError(f"not asked, after {GIVE_UP} failures in a row")
        try:
            said = self._ask(messages)
        except JudgeError as error:
            with self._lock:
                self._failures += 1
                if self._failures == GIVE_UP:
                    log.warning("The judge failed %d times in a row: %s", GIVE_UP, error)
            raise
        self._failures = 0
        return said
