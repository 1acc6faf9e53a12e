"""A model in lm-eval's interface: its numbers, with shared beginnings computed once.

- ``model.MarcoLM``: what lm-eval's tasks ask; ``encode``: text → tokens as lm-eval does it
- ``prefixes``: requests → rows in which shared tokens stand once; ``scores``: rows → nats
- ``generate``: many prompts at once, over a key-value cache; ``cache``: responses kept on disk

Nothing is imported here: lm-eval is an extra.
"""
