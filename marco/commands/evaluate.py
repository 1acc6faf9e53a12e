"""Measure a model in every language: checkpoints × evaluations.

marco evaluate model.path=runs/last [evaluation=…] [key=value] …

  model.path=runs/last              a run, a folder of transformers, a .gguf file or a hub name
  model.checkpoint=best             of a run: a step, last or best
  evaluation=embedded,xnli          what is measured; a list makes one evaluation of each
  evaluation.items_per_language=100 how much of it; null: all
  evaluation.languages=[swh,yor]    in which languages; [all]: all that the tasks have
  evaluation.data_dir=folder        the tasks' datasets as files, where there is no internet
  output=evaluations                <output>/<model>/<evaluation>/<time> has the results

Everything else is in conf/evaluate.yaml and conf/evaluation/. What was measured of the same weights
before an interruption is not measured again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marco.evaluation.history import Evaluation

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Check every combination, then evaluate one after the other; 1 where one gave no value."""
    parser = argparse.ArgumentParser(
        prog="marco evaluate",
        usage="marco evaluate model.path=… [group=option] [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", help="search your own configs first")
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)

    from marco.commands._evaluation import evaluate, point_of
    from marco.config import Sources, split_sweep
    from marco.errors import MarcoError

    extra = None if given.config_dir is None else Path(given.config_dir)
    sources = Sources(extra=extra, name="evaluate")
    points = [point_of(one, sources) for one in split_sweep(given.overrides, sources=sources)]

    from marco.evaluation.compare_table import overview
    from marco.tracking.console import console

    made: list[tuple[str, Evaluation]] = []
    failed = 0
    for number, point in enumerate(points, 1):
        if len(points) > 1:
            console().rule(f"{number} of {len(points)}: {point.evaluation}", align="left")
        try:
            made.append(evaluate(point))
        except MarcoError as error:
            if len(points) == 1:
                raise
            failed += 1
            log.error("error: %s", error)
        except KeyboardInterrupt:
            console().print("Interrupted. The same command goes on: responses so far are kept.")
            return 130
    if len(made) > 1:
        console().print(overview(made))
    empty = [found for _, found in made if all(row.value is None for row in found.rows)]
    return 1 if failed or empty else 0
