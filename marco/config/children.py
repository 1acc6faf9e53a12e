"""The command line of one job, for the processes that Lightning starts for its other devices.

They run the script again with ``sys.argv``. In a sweep that is the whole sweep, ``-m`` included,
and the folder they are told is the one of a single run: so ranks would write elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

from marco.config.checked import parse_flags, quoted

_FLAGS = ("config_path", "config_name", "config_dir")


def job_arguments(argv: list[str], hydra: DictConfig) -> list[str]:
    """Return the arguments of the running job alone, as a single run into the job's own folder.

    ``argv`` is the command line of the whole program, ``hydra`` the job's Hydra config.
    """
    given = parse_flags(argv)
    flags = [
        text
        for name in _FLAGS
        if getattr(given, name) is not None
        for text in (f"--{name.replace('_', '-')}", getattr(given, name))
    ]
    dropped = ("hydra.mode=", "hydra.run.dir=", "hydra.sweep.")
    own = [text for text in hydra.overrides.hydra if not text.startswith(dropped)]
    folder = quoted(Path(hydra.runtime.output_dir))
    return [*flags, *own, *hydra.overrides.task, f"hydra.run.dir={folder}"]


def use_job_arguments() -> None:
    """Make ``sys.argv`` and Hydra's run folder those of the running job; call it there first."""
    hydra = HydraConfig.get()
    sys.argv[1:] = job_arguments(sys.argv[1:], hydra)
    # Lightning passes hydra.run.dir on; a sweep's jobs live in hydra.sweep.dir.
    with read_write(hydra), open_dict(hydra):
        hydra.run.dir = hydra.runtime.output_dir
