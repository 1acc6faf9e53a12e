"""Say what a run will train on, need and cost, before it runs.

marco plan [group=option] [key=value] … [output=json] [device=h100] [devices=64] [mfu=0.4]

The run is said as to train.py; `marco plan experiment=marco/stage1_7b` needs no GPU, no weights and
no network. The plan's own keys:

  output=text|json        text for people, one JSON object for programs
  device=h100             a100, h100, h200, b200, mi300x, or cpu (memory alone)
  devices=8               how many train together; left out, the run's trainer.devices
  mfu=0.4                 the share of the device's peak that is assumed
  price_per_hour=2.5      of one device: the plan then has a cost
  base_learning_rate=1e-5 with which the base model's training ended: warns of a far higher peak
  max_fertility=3         warns of languages that need more tokens for one of English
  save=folder             also writes plan.json, plan.png and plan.html there
"""

from __future__ import annotations

import argparse
import json


def main(arguments: list[str]) -> int:
    """Compose, check, and print the plan."""
    parser = argparse.ArgumentParser(
        prog="marco plan",
        usage="marco plan [group=option] [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", help="search your own configs first")
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)

    from pathlib import Path

    from marco.config import Sources, bind_all, compose
    from marco.errors import ConfigError
    from marco.planning.options import split_arguments
    from marco.training.checks import check_settings

    options, overrides = split_arguments(given.overrides)
    extra = None if given.config_dir is None else Path(given.config_dir)
    run = bind_all(compose(overrides, sources=Sources(extra=extra)))
    if run.resume is not None:
        raise ConfigError(f"resume={run.resume}: a plan is of a whole run; leave it out.")
    check_settings(run)
    if options.save is not None:
        from marco.planning.save import writable

        writable(options.save)

    from marco.planning.plan import plan_of

    plan = plan_of(run, options)
    if options.save is not None:
        from marco.planning.save import save_plan

        save_plan(plan, options.save)
    if options.output == "json":
        print(json.dumps(plan, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from marco.planning.report import print_plan

        print_plan(plan)
    return 0
