"""The global norm over gradients of two meshes and plain ones; run by torchrun's launcher."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from marco.training.gradients import global_norm, scale_gradients
from marco.training.launch import launch


def work(folder: Path) -> int:
    dist.init_process_group("gloo")
    flat = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    square = init_device_mesh("cpu", (2, 1), mesh_dim_names=("rows", "columns"))
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(size, generator=generator) for size in ((7, 3), (4,), (2, 5), (6, 2))]
    gradients = [
        distribute_tensor(whole[0], flat, [Shard(0)]),
        distribute_tensor(whole[1], flat, [Replicate()]),
        distribute_tensor(whole[2], square, [Shard(1), Replicate()]),
        whole[3].clone(),
    ]
    expected = torch.sqrt(sum(part.double().square().sum() for part in whole))
    norm = global_norm(gradients)
    assert abs(float(norm) - float(expected)) < 1e-6 * float(expected), (norm, expected)
    scale_gradients(gradients, norm, largest=0.5)
    assert abs(float(global_norm(gradients)) - 0.5) < 1e-5
    if dist.get_rank() == 0:
        (folder / "done").write_text(str(float(norm)))
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    raise SystemExit(launch(work, Path(sys.argv[1]), devices=2))
