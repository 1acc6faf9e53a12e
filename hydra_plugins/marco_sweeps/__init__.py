"""marco's launcher and sweeper, where Hydra finds them; what they need is imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ParallelLauncher(Launcher):
    """Several runs at a time on this machine (`marco.sweeping.parallel`)."""

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what every job needs."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Make a run of every list of overrides; returns when all have ended."""
        from marco.sweeping.parallel import launch

        call = (self.context, self.config, self.task)
        return launch(call, job_overrides, initial_job_idx, self.n_jobs)


class OptunaSweeper(Sweeper):
    """A search by Optuna, whose study is in the sweep's folder (`marco.sweeping.search`)."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the launcher."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Try until the study has as many trials as it should have."""
        from marco.sweeping.search import search

        search(self.launcher, self.config, arguments, **self.settings)
