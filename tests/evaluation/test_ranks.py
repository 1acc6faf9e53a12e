"""Two processes, gloo: each scores half, both have everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marco.evaluation import scoring
from marco.evaluation.scoring import Shard

SCRIPT = """
import sys
import numpy as np, torch, torch.distributed as dist
from torch import nn
from marco.evaluation.scoring import Shard, score_documents

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.forwards = 0
    def forward(self, input_ids, position_ids, labels):
        self.forwards += 1
        dist.all_reduce(torch.zeros(1))  # as a sharded model: every forward is a collective
        return input_ids * 100.0 + position_ids

rank, size = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=rank, world_size=size)
documents = [[i] * n for i, n in enumerate([5, 60, 64, 33, 40, 3, 64, 7, 50, 64])]
model = Model()
scores = score_documents(model, documents, 9, 64, shard=Shard(rank, size))
for document, score in zip(documents, scores):
    inputs = [9, *document[:-1]]
    expected = [100.0 * token + at for at, token in enumerate(inputs)]
    np.testing.assert_array_equal(score, expected)
print(model.forwards)
dist.destroy_process_group()
"""


def test_two_ranks_share_the_forwards(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), "2", str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].strip() for process in running]
    assert outputs == ["4", "4"]  # seven rows: the last one twice, counted once


def test_what_replicas_of_a_rank_score_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(tensor: torch.Tensor) -> None:  # four processes, two of them ranks
        tensor.mul_(2).add_(torch.tensor([0.0, 6.0]))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    mine = np.array([1.5, 0.0], dtype=np.float32)
    total = scoring._gather(mine, Shard(0, 2), torch.device("cpu"))
    np.testing.assert_array_equal(total, [1.5, 3.0])
