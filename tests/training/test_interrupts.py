"""Signals are remembered until every process knows of them."""

from __future__ import annotations

import os
import signal

import pytest
import torch
import torch.distributed as dist

from marco.training.interrupts import Interrupt


def test_a_signal_during_the_agreement_counts_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after this process said "none": all go on alike, and stop a step later."""
    interrupt = Interrupt()

    def reduce(flag: torch.Tensor, op: dist.ReduceOp.RedOpType) -> None:
        if interrupt.number == 0:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", reduce)
    interrupt.install()
    try:
        assert interrupt.agreed(torch.device("cpu")) == 0
        assert interrupt.agreed(torch.device("cpu")) == signal.SIGINT
    finally:
        interrupt.restore()
