"""What a recipe's folder remembers: the commands of its steps, and which are done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marco.errors import CheckpointError
from marco.training.checkpoints.files import read_json, replace_json
from marco.training.recipe.commands import Command

FILE = "recipe.json"


@dataclass
class State:
    """A recipe under way.

    Attributes:
        seconds: of every step that is done, by its name.
    """

    folder: Path
    recipe: str
    commands: list[Command]
    seconds: dict[str, float] = field(default_factory=dict)

    def save(self) -> None:
        """Write it into the folder, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        value = {
            "recipe": self.recipe,
            "steps": [
                {
                    "name": command.name,
                    "do": command.do,
                    "arguments": list(command.arguments),
                    "folder": str(command.folder),
                    "seconds": self.seconds.get(command.name),
                }
                for command in self.commands
            ],
        }
        replace_json(self.folder / FILE, value)

    def finished(self, command: Command) -> bool:
        """Whether a step is done; a run is, once its summary is there."""
        if command.do == "train":
            return (command.folder / "summary.json").is_file()
        return command.name in self.seconds and command.folder.exists()


def load_state(folder: Path) -> State:
    """Read it back. Raises CheckpointError where it is missing or cannot be understood."""
    value = read_json(folder / FILE)
    try:
        steps: Sequence[dict[str, Any]] = value["steps"]
        commands = [
            Command(each["name"], each["do"], tuple(each["arguments"]), Path(each["folder"]))
            for each in steps
        ]
        seconds = {each["name"]: each["seconds"] for each in steps if each["seconds"] is not None}
        return State(folder, str(value["recipe"]), commands, seconds)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder / FILE} cannot be understood: {error}") from error


def recipe_folder(run: Path) -> Path | None:
    """Return the recipe's folder that a folder is, or is a step of; None of any other."""
    for place in (run, run.parent):
        if (place / FILE).is_file():
            return place.resolve()
    return None
