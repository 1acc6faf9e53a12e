"""Mixes: from the sizes of languages to their shares, and from shares to the order of sequences.

Arithmetic only; nothing here imports torch.
"""

from __future__ import annotations

from marco.mixing.groups import Groups, GroupShare
from marco.mixing.quota import QuotaOrder
from marco.mixing.rule import Rule
from marco.mixing.rules import Natural, Temperature, Uniform, UniMax
from marco.mixing.virtual_corpus import VirtualCorpus, marco_corpus
from marco.mixing.weights import Weights

__all__ = [
    "GroupShare",
    "Groups",
    "Natural",
    "QuotaOrder",
    "Rule",
    "Temperature",
    "UniMax",
    "Uniform",
    "VirtualCorpus",
    "Weights",
    "marco_corpus",
]
