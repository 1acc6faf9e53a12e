"""Where things are: the config tree of this installation, and the folders that a run writes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marco.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent


def conf_dir() -> Path:
    """Return the config tree: ``conf/`` beside ``marco/`` in a source tree, else ``marco/conf``.

    The wheel carries the tree inside the package. ``train.yaml`` is looked for, not just a folder
    called ``conf``, because site-packages may hold one that belongs to somebody else.
    """
    beside, inside = _PACKAGE.parent / "conf", _PACKAGE / "conf"
    return beside if (beside / "train.yaml").is_file() else inside


@dataclass(frozen=True)
class Paths:
    """The folders of the ``paths`` group; relative ones start at the working directory."""

    runs: str
    """One folder a run, ``<runs>/<name>/<time>``; ``<runs>/last`` points at the newest."""
    models: str
    """Prepared base models."""

    def __post_init__(self) -> None:
        for key in ("runs", "models"):
            value = getattr(self, key)
            if not value.strip() or "\0" in value:
                raise ConfigError(f"paths.{key} should be a folder, got {value!r}.")

    @property
    def runs_folder(self) -> Path:
        """``runs`` with ``~`` expanded."""
        return Path(self.runs).expanduser()
