"""A run that begins where another is: its weights, its optimizer's state, its place in the data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marco.config import RunSettings, container, load_config
from marco.config.branch import parent_of
from marco.errors import CheckpointError
from marco.mixing import MixSchedule
from marco.run_folder import CHECKPOINTS
from marco.training.assemble import Text
from marco.training.checkpoint import latest
from marco.training.checkpoints.files import read_json
from marco.training.module import MarcoModule

log = logging.getLogger(__name__)

#: What decides which tokens a sequence has; where one differs the data begins anew.
ORDER = ("seed", "batch.sequence_length", "batch.packing")


@dataclass(frozen=True)
class Branch:
    """The checkpoint that a run branches off.

    The run has a budget, a schedule and a mix of its own, from its first step on: a decay with a
    curated mix (MiniCPM, arXiv 2404.06395), an annealing to zero (OLMo 2, arXiv 2501.00656).
    """

    checkpoint: Path
    run: Path

    @classmethod
    def of(cls, run: RunSettings) -> Branch:
        """Find the checkpoint: the newest that is sound, or the one that is named.

        Raises:
            CheckpointError: there is none.
        """
        assert run.branch is not None
        parent = parent_of(run.branch)
        place = Path(run.branch).expanduser().resolve()
        found = latest(parent / CHECKPOINTS) if place == parent else place
        if found is None:
            raise CheckpointError(f"branch={run.branch}: it has no checkpoint that is sound.")
        return cls(found, parent)

    def begin(self, module: MarcoModule, run: RunSettings, text: Text) -> None:
        """Go on in the data where it and its packing are the parent's; else say that not.

        A mix of its own counts from here on. The parent's mix, where its shares are constant, goes
        on with the parent's counts: the order of sequences is that of one run.
        """
        progress: dict[str, Any] = read_json(self.checkpoint / "progress.json")
        log.info("Branching off %s at its step %d.", self.run.name, progress["step"])
        parent = container(load_config(self.run))
        before = [parent["seed"], *(parent["batch"][key.split(".")[1]] for key in ORDER[1:])]
        now = [run.seed, run.batch.sequence_length, run.batch.packing]
        if progress["corpus"] != module.context.corpus_fingerprint:
            log.info("The data is not that run's: it begins anew.")
        elif before != now:
            other = [key for key, a, b in zip(ORDER, before, now, strict=True) if a != b]
            log.info("The data begins anew, since %s differs.", " and ".join(other))
        else:
            module.go_on_in_the_data(progress, same_mix=_same_mix(parent, module, run, text))


def _same_mix(parent: dict[str, Any], module: MarcoModule, run: RunSettings, text: Text) -> bool:
    if parent["mix"] != module.context.config["mix"]:
        return False
    sizes = {source.name: len(source.store) for source in text.sources}
    before: MixSchedule = run.mix.schedule(sizes, int(parent["tokens"]), run.batch.sequence_length)
    (first, *more), (now, *later) = before.segments, text.schedule.segments
    return not more and not later and first.constant and now.constant and first.last == now.last
