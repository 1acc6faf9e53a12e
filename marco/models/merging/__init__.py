"""Merging models: what is added to what, tensor by tensor, a few pieces in memory at a time.

- ``methods``: the methods by name, and what each needs
- ``linear``, ``slerp``, ``task_vectors``, ``residual``: their arithmetic, in fp32
- ``sparsify``: which values of a task vector are kept (TIES, DARE)
- ``merge``: the checks, and the way of every tensor from the inputs to the output
"""
