"""Fused operations, one a file: a naive twin in plain torch, Triton kernels, a custom op.

Nothing of marco's is imported here. Triton is imported only by the files that hold kernels, so the
torch paths work where Triton does not exist.
"""
