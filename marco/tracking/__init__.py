"""Where a run is written down and read: local files, W&B, the console, speed.

- ``wandb_settings.Wandb``, ``local_settings.LocalOnly``: what ``conf/logger/*.yaml`` configures
- ``local.LocalLogger``: ``metrics.jsonl``, one line a step, and ``alerts.jsonl``
- ``wandb_logger.WandbLogger``: a W&B run that never stops the training
- ``media``: a table or an image for every logger that takes one
- ``alerts.alert``, ``directions.set_directions``, ``artifacts``: the same for alerts, for which way
  metrics improve, and for the data and the models of a run
- ``console.console``: the one console, so that lines land above the progress bar
- ``pauses.training_paused``: what evaluation and checkpoints wrap themselves in
- ``protocol.TrackedModule``: what the callbacks read from the LightningModule
- ``devices``, ``flops``: peak FLOP/s of known accelerators, model FLOPs of a token

Nothing is imported here: the settings must stay importable without torch or wandb.
"""

from __future__ import annotations
