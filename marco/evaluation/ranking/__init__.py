"""Ranking the settings of a sweep: which is best, and how sure that is.

- ``runs``: the runs below a folder, and why some did not finish; ``settings``: what was swept, and
  runs that differ by their seed alone put together
- ``seeds``: how runs vary with their seed, from all settings; ``rank``: the order, the difference
  of each setting to the best
- ``show``, ``files``, ``page``, ``parallel``: in a terminal, as CSV, as a page with its drawing
- ``report``: all of it, for a folder
"""
