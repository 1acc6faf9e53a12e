"""Several runs at a time on this machine, by joblib's workers, each of which makes many."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path

import psutil
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from marco.training.cores import CORES
from marco.training.relay import Relay

log = logging.getLogger(__name__)

MEMORY = 2 * 10**9
"""Bytes of a small run; an estimate, so that many cores do not start more than fit."""

IDLE = 300
"""Seconds that a worker waits for its next run: a search picks the values of some at a time."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Call = tuple[HydraContext, DictConfig, TaskFunction]


def launch(
    call: Call, job_overrides: Sequence[Sequence[str]], first: int, n_jobs: int | None
) -> list[JobReturn]:
    """Make the runs, `n_jobs` at a time (null: `jobs_here`), on an even share of the cores each.

    Raises:
        KeyboardInterrupt: once all runs have saved and stopped, after Ctrl-C or SIGTERM.
    """
    from hydra_plugins.hydra_joblib_launcher._core import execute_job
    from joblib import cpu_count
    from joblib.externals.loky import get_reusable_executor

    context, config, task = call
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    jobs = min(n_jobs or jobs_here(cpu_count()), len(job_overrides))
    threads = {}
    if "OMP_NUM_THREADS" not in os.environ:
        cores = str(max(1, cpu_count() // jobs))
        threads = dict.fromkeys((CORES, *THREADS), cores)
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    log.info("%d runs, %d at a time, in %s", len(job_overrides), jobs, folder)
    state = Singleton.get_state()
    # Not joblib.Parallel: it would make one at a time in this process, whose signals are blocked.
    with Relay() as relay:
        executor = get_reusable_executor(max_workers=jobs, timeout=IDLE, env=threads)
        futures = [
            executor.submit(execute_job, first + number, overrides, context, config, task, state)
            for number, overrides in enumerate(job_overrides)
        ]
        wait(futures)  # all of them, before one raises
    if relay.number:
        raise KeyboardInterrupt(relay.number)
    return [future.result() for future in futures]


def jobs_here(cores: int) -> int:
    """How many runs at a time: one where there is a GPU, else one a core, if the memory allows."""
    if any(Path("/dev").glob("nvidia[0-9]*")) and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        return 1
    return max(1, min(cores, int(psutil.virtual_memory().available // MEMORY)))
