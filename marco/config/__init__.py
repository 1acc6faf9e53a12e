"""Configuration: composed as Hydra will, bound to explicit signatures, checked beforehand."""

from __future__ import annotations

from marco.config.bind import Deferred, bind, bind_named
from marco.config.checked import check_command_line, command_line_sources, quoted
from marco.config.children import use_job_arguments
from marco.config.compose import Sources, compose, container
from marco.config.paths import Paths, conf_dir
from marco.config.redact import redact_file, resolved
from marco.config.resume import CHANGEABLE, Resumed, load_resumed, resume_value
from marco.config.run import Batch, RunSettings, bind_all, bind_root
from marco.config.saved import load_config, save_config
from marco.config.sweep import split_sweep

__all__ = [
    "CHANGEABLE",
    "Batch",
    "Deferred",
    "Paths",
    "Resumed",
    "RunSettings",
    "Sources",
    "bind",
    "bind_all",
    "bind_named",
    "bind_root",
    "check_command_line",
    "command_line_sources",
    "compose",
    "conf_dir",
    "container",
    "load_config",
    "load_resumed",
    "quoted",
    "redact_file",
    "resolved",
    "resume_value",
    "save_config",
    "split_sweep",
    "use_job_arguments",
]
