"""Measuring a model in every language, while it trains and at its end.

- ``settings.SweepSettings``: what ``conf/evaluation/*.yaml`` configures
- ``sweep.EvaluationSweep``: the tasks, prepared once and run many times; ``sweep.Trained``: what an
  evaluation reads from the LightningModule
- ``scoring.score_documents``, ``score_continuations``: log-probabilities of packed token ids
- ``likelihood``, ``lexicon``: the tasks; ``task``: what a task is
- ``rows``: the tidy row and its averages; ``history``: the evaluations of a run; ``intervals``
- ``reference``: bits per byte of xz, the column to beat
- ``summary``, ``table``, ``plots``: what is left at the end of a run

Nothing is imported here: the settings must stay importable without torch, pandas or matplotlib.
"""

from __future__ import annotations
