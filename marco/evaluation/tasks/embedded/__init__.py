"""Tasks on the text that is part of marco: they need no network.

- ``translate``: paragraphs of the Declaration of Human Rights, from any language into any other
- ``lexicon``: word translation as four-way multiple choice, from any language into any other
- ``lid``: which of four languages a paragraph is in
- ``cloze``: which of four texts an article goes on with
- ``declarations``: the articles, as these need them; ``write``: the YAML files of all languages

Scored are the articles that ``data=udhr`` holds out; examples are of those it trains on.
"""
