"""What is wrong with generated text that a score may not show: language, script, length, loops.

- ``measure``: items with a prediction → rows and the items' own values
- ``identifier``: which language a line is in, and how far that can be believed
- ``scripts``: what script a text is in; ``repetition``: how much of it is repeated

``identifier`` needs py3langid, of the extra ``eval``.
"""
