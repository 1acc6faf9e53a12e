"""A model's weights as files: read and written in pieces, never a whole model in memory.

- ``weights``: the tensors of a folder or checkpoint, read by rows
- ``writing``: sharded safetensors, written as the pieces come
- ``config``: that weights are what a config says, and the config that goes beside them
- ``folder``: a folder that appears whole or not at all
"""
