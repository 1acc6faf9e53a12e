"""What evaluations leave: a tidy table, an items file beside it, and aggregates over languages.

- ``table``: rows → ``results.parquet`` and ``results.json``, one line a measurement; aggregates →
  ``aggregates.parquet`` and ``aggregates.json``
- ``items``: items → ``items.parquet``, keyed so that any two runs can be paired
- ``samples``: the items of a language as numbers to resample; ``aggregates``: means over languages,
  groups, scripts and families, the worst five, the gap to English, with bootstrap intervals
- ``files``: writing records whole, as parquet and as JSON
"""
