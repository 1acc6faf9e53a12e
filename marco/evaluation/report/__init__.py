"""``report.html``: a run on one page, from its folder alone, so that it can be made again.

- ``read``: what the folder has; ``log_file``: of that, what its log says
- ``measures``: every metric over the run, by language; ``curves``: it and the training as numbers
  for the page's script (``report.js``, on uPlot)
- ``headline``, ``results``, ``training``, ``samples``, ``setup``: the page's sections
- ``page``: all of it together (``report.css``)
"""
