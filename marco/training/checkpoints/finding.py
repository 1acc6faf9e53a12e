"""Finding the newest checkpoint that is sound."""

from __future__ import annotations

import warnings
from pathlib import Path

from marco.errors import CheckpointError
from marco.training.checkpoints.folder import CheckpointWarning, checkpoints
from marco.training.checkpoints.manifest import OtherFormatError, problems_of_files, read_manifest
from marco.training.checkpoints.ranks import rank, together


def verify(path: Path, *, hashes: bool = True) -> list[str]:
    """Return what is wrong with a checkpoint, each line opening with a file's name; [] when sound.

    ``hashes=False`` looks at sizes only. Another format raises `CheckpointError`: such a
    checkpoint may be sound, only not for this version.
    """
    try:
        manifest = read_manifest(path)
    except OtherFormatError:
        raise
    except CheckpointError as error:
        return [str(error)]
    return problems_of_files(path, manifest, hashes=hashes)


def latest(folder: Path) -> Path | None:
    """Return the newest sound checkpoint in ``folder``, or None; every byte is read.

    Damaged ones are passed over with a `CheckpointWarning` that names the file. A collective where
    there is a process group: process 0 looks, all get its answer.
    """

    def find() -> Path | None:
        if rank() != 0:
            return None
        for path in reversed(checkpoints(folder).values()):
            problems = verify(path)
            if not problems:
                return path
            warnings.warn(
                f"{path} is damaged and is passed over: {'; '.join(problems)}",
                CheckpointWarning,
                stacklevel=2,
            )
        return None

    return together(find)[0]
