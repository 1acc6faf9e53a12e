"""The parts of a checkpoint, one a file: manifest, tensors, storage, random state, retention.

Use them through `marco.training.checkpoint`.
"""
