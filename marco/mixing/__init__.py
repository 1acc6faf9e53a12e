"""Mixes: from the sizes of languages to their shares, and from shares to the order of sequences.

Arithmetic only; nothing here imports torch.
"""

from __future__ import annotations

from marco.mixing.exhaustion import exhausted
from marco.mixing.groups import Groups, GroupShare
from marco.mixing.iid import IidOrder
from marco.mixing.linear import Linear, Point
from marco.mixing.order import Order
from marco.mixing.quota import QuotaOrder
from marco.mixing.rule import Rule
from marco.mixing.rules import Natural, Temperature, Uniform, UniMax
from marco.mixing.schedule import MixSchedule, Segment
from marco.mixing.stage import Stage
from marco.mixing.stages import Stages
from marco.mixing.virtual_corpus import VirtualCorpus, marco_corpus
from marco.mixing.weights import Weights

__all__ = [
    "GroupShare",
    "Groups",
    "IidOrder",
    "Linear",
    "MixSchedule",
    "Natural",
    "Order",
    "Point",
    "QuotaOrder",
    "Rule",
    "Segment",
    "Stage",
    "Stages",
    "Temperature",
    "UniMax",
    "Uniform",
    "VirtualCorpus",
    "Weights",
    "exhausted",
    "marco_corpus",
]
