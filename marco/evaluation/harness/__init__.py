"""Running lm-eval's tasks: prepared once, answered by any lm-eval model, scored item by item.

- ``prepared``: a task with its requests; ``answer``: requests → responses, failures kept apart
- ``score``: responses → values of the metrics, and items; ``rows``: values → rows of a language
- ``families``: the task sets of a config, as tasks of the sweep; ``ranks``: with other processes

lm-eval's own ``simple_evaluate`` gives the same numbers (a test compares them). It is not what runs
here because one task that fails would end it, and because it builds every request anew each time.
"""
