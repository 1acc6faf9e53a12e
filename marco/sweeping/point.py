"""One run of a sweep: skipped, gone on with, or made; its end is said, and noted in its folder."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from marco.config import load_resumed, quoted, redact_file
from marco.config.earlier import FAILED, PRUNED, earlier, set_aside
from marco.config.redact import REDACTED, redact_overrides, write
from marco.config.relaunch import MULTIRUN
from marco.errors import MarcoError
from marco.sweeping import worker
from marco.training.job import before_training, bits_per_byte, run

log = logging.getLogger("marco")

PARALLEL = "hydra_plugins.marco_sweeps.ParallelLauncher"
IN_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def run_point(cfg: DictConfig, hydra: DictConfig) -> float | None:
    """Make the run that is next, in its folder; returns its bits per byte, once it has them.

    An error is noted in the folder and does not end the sweep; Ctrl-C does.

    Args:
        cfg: the run's config. hydra: Hydra's own of this job.
    """
    redact_file(Path(hydra.sweep.dir) / "multirun.yaml")
    folder = Path(hydra.runtime.output_dir).absolute()
    overrides = list(hydra.overrides.task)
    name = f"Run {hydra.job.num}{_point(overrides, folder.parent)}"
    launcher = hydra.launcher._target_
    if launcher != PARALLEL:
        code = _attempt(cfg, overrides, folder, name)
        if code >= 128 and launcher == IN_PROCESS:
            raise SystemExit(code)
        return bits_per_byte(folder)
    try:
        with worker.at_work():
            if worker.stopped():
                with suppress(OSError):  # not empty: a run that was interrupted
                    folder.rmdir()
                return None
            worker.use_own_cores()
            with worker.output_into(folder) as say:
                began = time.monotonic()
                code = _attempt(cfg, overrides, folder, name)
                say(_ended(folder, name, code, time.monotonic() - began))
            if code >= 128:
                worker.stop(code - 128)
    except KeyboardInterrupt:  # outside the run itself
        return None
    return bits_per_byte(folder)


def _attempt(cfg: DictConfig, overrides: list[str], folder: Path, name: str) -> int:
    state = earlier(folder, cfg)
    if state == "finished":
        log.info("%s has finished already.", name)
        return 0
    try:
        if state == "again":
            set_aside(folder)
        if state == "unfinished":
            logger = [text for text in overrides if text.startswith(("logger=", "logger."))]
            cfg = load_resumed([f"resume={quoted(folder)}", *logger]).cfg
        code = run(cfg, overrides, folder)
        reason = "its log.txt says why" if code == 1 else None
    except KeyboardInterrupt as interrupt:
        return before_training(interrupt)
    except MarcoError as error:
        log.error("error: %s", error)
        code, reason = 1, str(error)
    except Exception as error:
        log.exception("error:")
        code, reason = 1, f"{type(error).__name__}: {error}"
    if reason is not None:
        write(f"{reason}\n", folder / FAILED)
    return code


def _point(overrides: list[str], sweep: Path) -> str:
    """What is special about a run: the keys of which the sweep takes several values."""
    path = sweep / MULTIRUN
    if not path.is_file():
        return ""
    saved = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]
    params = [f"{key}={value}" for key, value in (saved["sweeper"].get("params") or {}).items()]
    given = [text for text in saved["overrides"]["task"] if REDACTED not in text]
    parsed = OverridesParser.create().parse_overrides([*params, *given])
    swept = {override.get_key_element() for override in parsed if override.is_sweep_override()}
    shown = [text for text in redact_overrides(overrides) if text.partition("=")[0] in swept]
    return f" ({' '.join(shown)})" if shown else ""


def _ended(folder: Path, name: str, code: int, seconds: float) -> str:
    if code >= 128:
        return f"{name} was interrupted"
    if code:
        return f"{name} failed: {(folder / FAILED).read_text(encoding='utf-8').strip()}"
    return f"{name}: {_result(folder)}, {seconds:.0f} s"


def _result(folder: Path) -> str:
    if (folder / PRUNED).is_file():
        pruned = json.loads((folder / PRUNED).read_text(encoding="utf-8"))
        return f"pruned after {pruned['tokens']:,} tokens at {pruned['bits_per_byte']:.3f}"
    bits = bits_per_byte(folder)
    return "finished" if bits is None else f"{bits:.4f} bits per byte"
