"""Two processes, gloo: each scores half, both have everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

rank, size, ranks = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", init_method="file://" + sys.argv[4], rank=rank, world_size=size)
documents = [[i] * n for i, n in enumerate([5, 60, 64, 33, 40, 3, 64, 7, 50])]
model = Model()
scores = score_documents(model, documents, 9, 64, shard=Shard(rank % ranks, ranks))
for document, score in zip(documents, scores):
    inputs = [9, *document[:-1]]
    expected = [100.0 * token + at for at, token in enumerate(inputs)]
    np.testing.assert_array_equal(score, expected)
print(model.forwards)
dist.destroy_process_group()
"""


def forwards(folder: Path, processes: int, ranks: int) -> list[str]:
    meeting = folder / "meeting"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(processes), str(ranks), str(meeting)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * processes
    return outputs


def test_two_ranks_share_the_forwards(tmp_path: Path) -> None:
    assert forwards(tmp_path, processes=2, ranks=2) == ["4", "4"]  # seven rows, one twice


def test_replicas_of_one_rank_do_the_same(tmp_path: Path) -> None:
    assert forwards(tmp_path, processes=2, ranks=1) == ["7", "7"]
