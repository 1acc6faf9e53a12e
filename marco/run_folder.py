"""What a run's folder is known by, for those who take a model or a vocabulary from one."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
#: The shape of the network, as transformers' config.json.
MODEL = "model"
TOKENIZER = "tokenizer"


def run_of(path: str | Path) -> Path | None:
    """Return the run that a path is the folder of, or one of whose checkpoints it is; else None."""
    place = Path(path).expanduser()
    if (place / MANIFEST).is_file():
        place = place.resolve().parents[1]
    if (place / CONFIG).is_file() and (place / CHECKPOINTS).is_dir():
        return place.resolve()
    return None
