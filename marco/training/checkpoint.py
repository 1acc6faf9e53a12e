"""The one checkpoint format: a folder that is whole or absent, on any number of processes.

::

    <run>/checkpoints/step-00000120/
        manifest.json       format version, size and sha256 of every file, config, fingerprints
        state/index.json    dtype, shape and place of every tensor
        state/rank-00000.safetensors …   model and optimizer, sharded as the model was
        optimizer.json      parameter groups
        progress.json       what the caller counts: data position, ledger, callbacks
        rng/rank-00000.json …            random generators, one file a process
        metrics.json        attached later, not hashed

`save` and `load` are collectives: every process calls them with the same arguments, at an
optimizer-step boundary. Nothing is pickled. A folder from elsewhere can hold wrong numbers but
runs no code.
"""

from __future__ import annotations

from marco.training.checkpoints.finding import latest, verify
from marco.training.checkpoints.folder import CheckpointWarning, checkpoints
from marco.training.checkpoints.loading import Loaded, load
from marco.training.checkpoints.manifest import Manifest, read_manifest
from marco.training.checkpoints.ranks import CheckpointWriteError
from marco.training.checkpoints.retention import attach_metrics, discard_after, metrics_of, retain
from marco.training.checkpoints.saving import save

__all__ = [
    "CheckpointWarning",
    "CheckpointWriteError",
    "Loaded",
    "Manifest",
    "attach_metrics",
    "checkpoints",
    "discard_after",
    "latest",
    "load",
    "metrics_of",
    "read_manifest",
    "retain",
    "save",
    "verify",
]
