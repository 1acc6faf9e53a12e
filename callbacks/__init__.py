"""Lightning callbacks, one concern a file, each with its state in the checkpoint."""
