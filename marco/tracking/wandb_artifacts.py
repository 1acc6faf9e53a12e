"""The data and the model of a run as W&B artifacts. The calls may raise anything and may hang."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marco.tracking.wandb_mode import Mode
from marco.tracking.wandb_service import data_inside


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def use_data(
    run: Any, fingerprint: str, manifest: Mapping[str, Any], *, mode: Mode, folder: Path
) -> None:
    """Note which data a run uses: runs of the same text use the same artifact.

    Offline W&B takes no artifact as used: it is logged by the run instead, under the same name.
    The text itself stays where it is.
    """
    import wandb

    with data_inside(folder):
        artifact = wandb.Artifact(
            f"data-{fingerprint[:12]}", "dataset", metadata={"fingerprint": fingerprint}
        )
        _add_json(artifact, "data.json", manifest)
        if mode == "online":
            run.use_artifact(artifact)
        else:
            run.log_artifact(artifact)


def log_checkpoint(
    run: Any,
    path: Path,
    aliases: Sequence[str],
    facts: Mapping[str, Any],
    ledger: Mapping[str, Any],
    *,
    upload: bool,
    wait: float | None,
    folder: Path,
) -> None:
    """Log a checkpoint as a version of the run's model.

    Args:
        run: the ``wandb.Run``.
        path: the checkpoint's folder.
        aliases: names of this version.
        facts: its metadata.
        ledger: goes with it as ``ledger.json``.
        upload: whether its files are uploaded; else it only says where they are.
        wait: seconds to wait for the upload; None (offline): do not wait.
        folder: the run folder.
    """
    import wandb

    with data_inside(folder):
        artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=dict(facts))
        _add_json(artifact, "ledger.json", ledger)
        if upload:
            # the files of a finished run don't change: no second copy of them on the disk
            artifact.add_dir(str(path), skip_cache=True, policy="immutable")
        else:
            artifact.add_reference(path.resolve().as_uri(), checksum=False)
        logged = run.log_artifact(artifact, aliases=list(aliases))
        if wait is not None:
            logged.wait(timeout=max(1, round(wait)))


def _add_json(artifact: Any, name: str, value: Mapping[str, Any]) -> None:
    with artifact.new_file(name, encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True, ensure_ascii=False)
