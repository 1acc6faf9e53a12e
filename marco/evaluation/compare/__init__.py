"""Comparing runs: what differs in config and data, and what of the results is more than luck.

- ``run``: what is known of a run; ``read``, ``lm_eval``, ``wandb_run``: reading one;
  ``families``: which rows its items belong to; ``names``: one name for one task
- ``configs``, ``ledgers``, ``losses``: what differs before the results: keys, tokens, the curve
- ``significance``, ``corrections``: the tests of one language, and of many at once
- ``pairing``: the same items of several runs beside each other, or which ones are not the same
- ``measure``: one difference; ``differences``: every language, task and metric of a run against
  the first one; ``report``: all of it
- ``tables``, ``files``, ``page``, ``charts``: shown in a terminal, as CSV, as one HTML page
"""
