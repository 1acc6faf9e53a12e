"""The parts of a checkpoint, one idea a file. Use them through `marco.training.checkpoint`."""
