"""What `marco plan` is asked besides the run: on what, how fast, at what price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from marco.config.bind import bind_node
from marco.config.values import convert
from marco.errors import ConfigError, nearest
from marco.kernels.chips import CHIPS

#: Llama 3 reached 38 to 43 % on 8,192 and 16,384 H100s (arXiv 2407.21783, table 4).
MFU, MFU_SOURCE = 0.4, "Llama 3 405B: 38-43 % on H100s, arXiv 2407.21783, table 4"
CPU = "cpu"


@dataclass(frozen=True)
class PlanOptions:
    """The keys of `marco plan` that are none of a run's.

    Attributes:
        output: `text` for people, `json` for programs.
        device: a GPU of `marco.kernels.chips`, or `cpu` (memory alone).
        devices: how many train together; None is the run's `trainer.devices`.
        mfu: model FLOPs utilisation that is assumed.
        price_per_hour: of one device, in any currency; None leaves the cost out.
        base_learning_rate: with which the base model's own training ended; None: not known.
        max_fertility: tokens a language needs for an English token, above which it is warned of.
        save: a folder for plan.json, plan.png and plan.html; None writes nothing.
    """

    output: Literal["text", "json"] = "text"
    device: str = "h100"
    devices: int | None = None
    mfu: float = MFU
    price_per_hour: float | None = None
    base_learning_rate: float | None = None
    max_fertility: float = 3.0
    save: Path | None = None

    def __post_init__(self) -> None:
        names = [*CHIPS, CPU]
        if self.device not in names:
            guess = nearest(self.device, names)
            raise ConfigError(f"device={self.device}: there are {', '.join(names)}.{guess}")
        if self.devices is not None and self.devices < 1:
            raise ConfigError(f"devices={self.devices} must be at least 1.")
        if not 0 < self.mfu <= 1:
            raise ConfigError(f"mfu={self.mfu} is a share of the device's peak: 0 < mfu ≤ 1.")
        for key in ("price_per_hour", "base_learning_rate", "max_fertility"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise ConfigError(f"{key}={value} must be above 0.")
        if self.save is not None and self.save.is_file():
            raise ConfigError(f"save={self.save} is a file; it names a folder.")


def split_arguments(arguments: Sequence[str]) -> tuple[PlanOptions, list[str]]:
    """Take the plan's own keys out of a command line; the rest are the run's overrides.

    Raises:
        ConfigError: a key given twice, or a value that it cannot have.
    """
    names = {field.name for field in fields(PlanOptions)}
    hints: dict[str, Any] = get_type_hints(PlanOptions) | {"save": str | None}
    given: dict[str, Any] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if key not in names or not equals:
            rest.append(argument)
        elif key in given:
            raise ConfigError(f"{key} is given twice.")
        else:
            given[key] = convert(_value(text), hints[key], key, bind_node)
    folder = given.pop("save", None)
    options = PlanOptions(**given)
    return replace(options, save=Path(folder).expanduser()) if folder else options, rest


def _value(text: str) -> object:
    """A number where it is one, as on any Hydra command line."""
    if text in ("null", ""):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
