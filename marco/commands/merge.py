"""Make one model of several: add what they learnt, or go a part of the way between them.

marco merge method=ties base=Qwen/Qwen2-7B models=[runs/a,runs/b] density=0.3 output=merged
marco merge method=instruction_residual base=Qwen/Qwen2-7B \\
    models=[runs/last,Qwen/Qwen2-7B-Instruct] output=chat
marco merge method=slerp base=a models=[b] weights=0.25,0.5,0.75 output=merged

A model is a run, one of its checkpoints, a folder of transformers, or a hub name. Tensors are read,
merged and written piece by piece, so a model of any size needs little memory. Values with commas
between them make a model each, in folders of <output>. All keys are in conf/merge.yaml.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marco.config.merge import MergeSettings


def main(arguments: list[str]) -> int:
    """Check every merge of the command line before the first is written."""
    parser = argparse.ArgumentParser(
        prog="marco merge",
        usage="marco merge method=… base=… models=[…] output=… [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", help="search your own configs first")
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)

    from marco.training.merging import prepare

    made = [prepare(point) for point in _points(given.overrides, given.config_dir)]
    for merging in made:
        merging.write()
        print(f"{merging.settings.output}: {merging.description}")
    if len(made) > 1:
        places = ",".join(str(merging.settings.output) for merging in made)
        print(f"Measure them: marco evaluate model.path={places}")
    return 0


def _points(overrides: list[str], config_dir: str | None) -> list[MergeSettings]:
    """The merges that the command line stands for; those of a sweep in folders of the output."""
    from marco.config import Sources, bind_root, compose, container, split_sweep
    from marco.config.merge import MergeSettings
    from marco.config.sweep import names_of
    from marco.errors import ConfigError

    extra = None if config_dir is None else Path(config_dir)
    sources = Sources(extra=extra, name="merge")
    points = split_sweep(overrides, sources=sources)
    found = [
        bind_root(container(compose(point, sources=sources)), MergeSettings) for point in points
    ]
    outputs = [settings.output.expanduser() for settings in found]
    if len(found) > 1 and len(set(outputs)) == 1:
        outputs = [outputs[0] / name for name in names_of(points)]
    if len(set(outputs)) < len(outputs):
        raise ConfigError("Several merges of this command line would be written to one folder.")
    return [replace(each, output=place) for each, place in zip(found, outputs, strict=True)]
