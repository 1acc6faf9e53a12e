"""Whether a model has seen what it is evaluated on; reported beside the scores.

- ``report``: prepared tasks of lm-eval → rows, by both ways
- ``option_order``: does the model prefer the published order of an item's options? ``choices``:
  such items; ``isolation``, ``binomial``: the statistics
- ``ngram_index``: the n-grams of a corpus on disk; ``ngrams``: what an n-gram is here;
  ``overlap``: which share of the evaluation's text is in there; ``corpora``: the text of a config
- ``tasks``: what lm-eval's documents hold for either

Neither proves anything alone: a model may have seen an item in other words, and may prefer an order
for other reasons (see ``option_order``).
"""
