"""The operations in plain torch, arranged for a CPU: few passes, few temporaries, no casts twice.

What they gain is in docs/performance.md; what was tried is in docs/log.md.
"""
