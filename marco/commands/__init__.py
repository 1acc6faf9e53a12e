"""The console commands, ``marco <command>``: one module each, its docstring's first line the help.

A command module offers ``main(arguments: list[str]) -> int`` and imports nothing heavy at its top.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from marco.errors import MarcoError, nearest


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``marco <command> …`` and return the exit code: 2 for what the user can put right."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    names = command_names()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(names))
        return 0 if arguments else 2
    name = arguments[0]
    if name not in names:
        has = f"Commands: {', '.join(names)}."
        print(f"error: no command '{name}'.{nearest(name, names)} {has}", file=sys.stderr)
        return 2
    try:
        code = load(name).main(arguments[1:])
        sys.stdout.flush()
        return int(code)
    except MarcoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `marco languages | head`
        _stop_printing()
        return 0
    except OSError as error:  # what a command itself reads and writes is a MarcoError
        _stop_printing()
        print(f"error: {error}", file=sys.stderr)
        return 1


def _stop_printing() -> None:
    """What is left in the buffer would fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if not name.startswith("_"))


def load(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"{__name__}.{name}")


def summary(name: str) -> str:
    """Return a command's one line."""
    lines = (load(name).__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""


def overview(names: Sequence[str]) -> str:
    """Return what ``marco --help`` prints."""
    width = max(map(len, names))
    listed = "\n".join(f"  {name:<{width}}  {summary(name)}" for name in names)
    return (
        "usage: marco <command> [arguments]\n\n"
        f"commands:\n{listed}\n\n"
        "`marco <command> --help` says more. Training itself is `python train.py --help`."
    )
