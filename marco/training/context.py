"""What the callbacks of a run share besides the module and the trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.mixing.raised import Raise
from marco.training.interrupts import Interrupt

if TYPE_CHECKING:
    from marco.evaluation.sweep import EvaluationSweep


class MixChanged(Exception):  # noqa: N818 - no error
    """The mix is another from here on: the run goes on from the checkpoint just written."""


@dataclass
class RunContext:
    """One run's surroundings; the module carries it as `context`.

    Attributes:
        folder: the run folder.
        config: the resolved config, without secrets.
        tokenizer_fingerprint: hash of the vocabulary, kept in every checkpoint.
        corpus_fingerprint: hash of the text, its split and its sources, kept in every checkpoint.
        sweep: the evaluations, prepared; None when they are switched off.
        resume_from: the checkpoint this run continues, or None.
        branch_from: the checkpoint of another run whose weights and optimizer it begins with.
        mix_changes: what a guardrail changed of the mix on the way, kept in every checkpoint.
        choices: what was decided when the run began (threads, backend), reused on resume.
        interrupt: whether somebody asked the run to stop.
        given_up: whether a callback ended the run for good before its budget was spent.
    """

    folder: Path
    config: dict[str, Any]
    tokenizer_fingerprint: str
    corpus_fingerprint: str
    sweep: EvaluationSweep | None = None
    resume_from: Path | None = None
    branch_from: Path | None = None
    mix_changes: list[Raise] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)
    interrupt: Interrupt = field(default_factory=Interrupt)
    given_up: bool = False

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / "checkpoints"
