"""The suite: what to evaluate, in what language, on what data.

``task_set`` is what a config says; ``tasks`` turns its names into lm-eval's tasks, ``languages``
says what language each is in, and ``build`` makes one, its data from the hub (``hub``) or from a
folder (``offline``). Only ``task_set`` and ``languages`` can be imported without lm-eval.
"""
