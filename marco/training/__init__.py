"""Training: the LightningModule, optimizers, schedules, checkpoints, and the stages of a recipe."""
