"""A model as others can use it: safetensors, vocabulary, generation config, and a model card.

- ``lineage``: the runs that made a model, one after the other, and what each was trained on
- ``scores``, ``card``: the model card
- ``hub``: pushing it, when asked
- ``run``: the whole export
"""
