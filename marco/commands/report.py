"""Write a run's report.html again: its results, curves, samples and config on one page.

marco report RUN … [key=value]

  RUN                  a run's folder, of one that is still going on too

  anchors=eng,cmn      languages that should not get worse: their retention is shown

A run writes its page itself when it ends; this makes it anew, from the run's folder alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from marco.errors import ConfigError, nearest

ANCHORS = "anchors"


def main(arguments: list[str]) -> int:
    """Write the page of every run named in ``arguments``."""
    parser = argparse.ArgumentParser(
        prog="marco report",
        usage="marco report RUN ... [anchors=eng,cmn]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    folders, anchors = _parse(parser.parse_args(arguments).arguments)

    from marco.evaluation.report.page import ANCHORS as USUAL
    from marco.evaluation.report.page import write_report
    from marco.languages import canonical
    from marco.tracking.console import console

    codes = USUAL if anchors is None else canonical(anchors)
    for folder in folders:
        try:
            page = write_report(folder, codes)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written to: {error}") from error
        console().print(f"Report: {page}", soft_wrap=True)
    return 0


def _parse(arguments: list[str]) -> tuple[list[Path], list[str] | None]:
    folders: list[Path] = []
    anchors: list[str] | None = None
    for argument in arguments:
        key, equals, value = argument.partition("=")
        path = Path(argument).expanduser()
        if not equals or path.exists():
            folders.append(path)
        elif key == ANCHORS:
            anchors = [code for code in value.split(",") if code]
        else:
            raise ConfigError(
                f"{argument}: `marco report` has no such key.{nearest(key, [ANCHORS])}"
            )
    if not folders:
        raise ConfigError("marco report needs a run: marco report runs/last.")
    return folders, anchors
