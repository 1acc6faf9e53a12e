"""MT-bench in any language: two models' answers, compared by a judge behind a chat endpoint.

- ``questions``: the questions, of one turn or several
- ``answers``: what a model answers; ``answer_files``: answers made elsewhere
- ``prompts``: what the judge is asked, and what it said; ``endpoint``: how it is asked
- ``judging``: every turn in both orders; ``scores``: wins, ties and losses with intervals
- ``results``: what is written; ``table``: what is shown

The protocol is MT-bench's (Zheng et al., NeurIPS 2023, arXiv 2306.05685), the prompts are ours.
"""
