"""conf/wandb_sweep: W&B takes the files, and every command its agents make of them can start.

``wandb_sweep_schema.json`` is that of the package ``sweeps`` 0.3.0 (MIT), which cannot be
installed beside NumPy 2.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from marco.config import RunSettings, bind, check_command_line, compose, conf_dir
from marco.training.checks import check_run

SCHEMA = json.loads((Path(__file__).parent / "wandb_sweep_schema.json").read_text())
FILES = sorted((Path(conf_dir()) / "wandb_sweep").glob("*.yaml"))
RUNS = {"kernels": 3, "lr_by_mix": 9, "mix_alpha": 6, "seeds": 5, "unimax_cap": 4}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def commands(sweep: dict[str, Any]) -> list[list[str]]:
    """What W&B's agents would run: every point of the grid, put into words by W&B's own code."""
    names = list(sweep["parameters"])
    made = []
    for point in itertools.product(*(sweep["parameters"][name]["values"] for name in names)):
        args = {name: {"value": value} for name, value in zip(names, point, strict=True)}
        words: dict[str, list[str]] = create_sweep_command_args({"args": args})
        words["program"] = [sweep["program"]]
        made.append(
            [
                part
                for chunk in create_sweep_command(sweep["command"])
                for part in (words[chunk[2:-1]] if chunk.startswith("${") else [chunk])
            ]
        )
    return made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_wandb_takes_it(path: Path) -> None:
    sweep = read(path)
    jsonschema.Draft7Validator(SCHEMA).validate(sweep)
    assert sweep["name"] == path.stem
    assert sweep["project"] == bind(compose([]).logger, "logger").project
    assert len(commands(sweep)) == RUNS[path.stem]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_sweeps_what_hydra_sweeps_under_that_name(path: Path) -> None:
    sweep = read(path)
    params = read(path.parents[1] / "sweep" / path.name)["hydra"]["sweeper"]["params"]
    fixed = dict(word.split("=") for word in sweep["command"] if "=" in word)
    mine = {key: each["values"] for key, each in sweep["parameters"].items()} | fixed
    assert mine == {key: yaml_values(value) for key, value in params.items()}


def yaml_values(text: str) -> Any:
    values = [yaml.safe_load(value) for value in str(text).split(",")]
    return values if len(values) > 1 else values[0]


def test_the_schema_finds_mistakes() -> None:
    sweep = read(FILES[0])
    for wrong in ({"method": "grind"}, {"parameters": {}}, {"parameters": {"seed": {"vals": [1]}}}):
        assert not jsonschema.Draft7Validator(SCHEMA).is_valid(sweep | wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_command_can_start(path: Path) -> None:
    seen: list[RunSettings] = []
    for interpreter, program, *overrides in commands(read(path)):
        assert (interpreter, program) == ("python", "train.py")
        check_command_line(overrides, seen.append)
    check_run(seen[0])  # against the text: the others are as long, and their caps are larger
    swept = [(run.mix, run.optimizer, run.seed, run.kernels) for run in seen]
    assert all(one != other for one, other in itertools.combinations(swept, 2))
