"""One group of two processes (gloo, CPU) for all tests of this file: starting it is what costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from marco.training import checkpoint

MODEL = """
import torch
from torch import nn

class Tiny(nn.Module):
    # Sizes that two processes cannot share evenly, one they cannot share at all; a tied head.
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.body = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, ids):
        self.seen += 1
        return self.head(self.norm(self.body(self.embed(ids))) * self.scale)

class Master(torch.optim.Optimizer):
    # Momentum on an fp32 copy of each bf16 weight: state of another type than its parameter's.
    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["master"] = p.detach().float()
                    state["exp_avg"] = torch.zeros_like(state["master"])
                state["step"] += 1
                state["exp_avg"].mul_(group["betas"][0]).add_(p.grad.float())
                state["master"].mul_(1 - group["weight_decay"]).add_(
                    state["exp_avg"], alpha=-group["lr"])
                p.copy_(state["master"])

def build(model):
    return Master([
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() <= 1]},
    ])

def train(model, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(11, (4, 5), generator=generator)
        nn.functional.cross_entropy(model(ids).float().flatten(0, 1), ids.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

def contents(model, optimizer):
    named = dict(model.named_parameters())
    found = {name.removeprefix("module."): value for name, value in named.items()}
    found |= {name.removeprefix("module."): value for name, value in model.named_buffers()}
    for name, parameter in named.items():
        for key, value in optimizer.state[parameter].items():
            found[f"{key}/{name.removeprefix('module.')}"] = value
    full = lambda t: t.full_tensor() if hasattr(t, "full_tensor") else t
    return {name: full(value).detach().clone().contiguous() for name, value in found.items()}
"""

WORKER = (
    MODEL
    + """
import json, os, random, sys
from pathlib import Path
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from marco.errors import CheckpointError
from marco.training import checkpoint

root, rank = Path(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{root}/store", rank=rank, world_size=2)
report = {}
common = {"config": {}, "tokenizer_fingerprint": "tok"}

def equal(expected, found):
    return sorted(expected) == sorted(found) and all(
        expected[n].dtype == found[n].dtype and torch.equal(expected[n], found[n]) for n in found)

def fsdp():
    model = Tiny().bfloat16()
    fully_shard(model.body)
    fully_shard(model)
    return model, build(model)

# What one process wrote, on two.
written_by_one = load_file(root / "one.safetensors")
newest = checkpoint.latest(root / "one")
torch.manual_seed(7 + rank)
sharded, optimizer = fsdp()
loaded = checkpoint.load(newest, model=sharded, optimizer=optimizer, tokenizer_fingerprint="tok")
report["one_to_fsdp"] = equal(written_by_one, contents(sharded, optimizer))
report["rng_restored_from_one"] = loaded.rng_restored
report["shards"] = type(optimizer.state[sharded.body.weight]["master"]).__name__

torch.manual_seed(8 + rank)
ddp = DistributedDataParallel(Tiny().bfloat16())
ddp_optimizer = build(ddp)
checkpoint.load(newest, model=ddp, optimizer=ddp_optimizer, tokenizer_fingerprint="tok")
report["one_to_ddp"] = equal(written_by_one, contents(ddp, ddp_optimizer))

# What two wrote, on two: after a forward without a backward the root is left gathered.
train(sharded, optimizer, 2, seed=rank)
sharded.eval()
with torch.no_grad():
    sharded(torch.zeros(1, 2, dtype=torch.int64))
torch.manual_seed(20 + rank)
path = checkpoint.save(root / "two", model=sharded, optimizer=optimizer, step=2, tokens=40,
                       progress={"counters": {"eng": 3}}, **common)
drawn = torch.rand(3)
before = contents(sharded, optimizer)
if rank == 0:
    save_file(before, root / "two.safetensors")
again, again_optimizer = fsdp()
loaded = checkpoint.load(path, model=again, optimizer=again_optimizer, tokenizer_fingerprint="tok")
report["rng_continues"] = loaded.rng_restored and torch.equal(torch.rand(3), drawn)
report["fsdp_to_fsdp"] = equal(before, contents(again, again_optimizer))
checkpoint.load(path, model=ddp, optimizer=ddp_optimizer, tokenizer_fingerprint="tok")
report["fsdp_to_ddp"] = equal(before, contents(ddp, ddp_optimizer))
train(ddp, ddp_optimizer, 1)
ddp_path = checkpoint.save(root / "ddp", model=ddp, optimizer=ddp_optimizer, step=3, tokens=60,
                           progress={}, **common)
if rank == 0:
    save_file(contents(ddp, ddp_optimizer), root / "ddp.safetensors")

# One process cannot write: all must hear of it, and go on.
fsync = os.fsync
def full(descriptor):
    raise OSError(28, "No space left on device")
for name, stop in (("tensors", 1), ("random", 2)):
    calls = iter(range(1, 100))
    os.fsync = lambda d: full(d) if rank == 1 and next(calls) == stop else fsync(d)
    try:
        checkpoint.save(root / "two", model=sharded, optimizer=optimizer, step=4, tokens=80,
                        progress={}, **common)
    except checkpoint.CheckpointWriteError as error:
        report[f"failed_{name}"] = str(error)
os.fsync = fsync
dist.barrier()  # process 0 removes what was begun
report["left"] = sorted(p.name for p in (root / "two").iterdir())
try:
    checkpoint.load(path, model=sharded, optimizer=optimizer,
                    tokenizer_fingerprint="tok" if rank == 0 else "kot")
except CheckpointError as error:
    report["disagreed"] = str(error)
report["latest"] = checkpoint.latest(root / "two").name
checkpoint.retain(root / "two")
(root / f"report-{rank}.json").write_text(json.dumps(report))
dist.barrier()  # process 0 holds the store: it must not be gone while the other still ends
dist.destroy_process_group()
"""
)
SCOPE: dict[str, Any] = {}
exec(MODEL, SCOPE)


def contents(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = SCOPE["contents"](model, optimizer)
    return found


def build() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = SCOPE["Tiny"]().bfloat16()
    return model, SCOPE["build"](model)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("group")
    torch.manual_seed(0)
    model, optimizer = build()
    SCOPE["train"](model, optimizer, 2)
    checkpoint.save(
        root / "one",
        model=model,
        optimizer=optimizer,
        progress={},
        config={},
        tokenizer_fingerprint="tok",
        step=1,
        tokens=20,
    )
    save_file(contents(model, optimizer), root / "one.safetensors")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(root), str(rank)],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
    return root


@pytest.fixture(params=[0, 1])
def report(group: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((group / f"report-{request.param}.json").read_text())
    return read


def test_one_process_to_two(report: dict[str, Any]) -> None:
    assert report["one_to_fsdp"]
    assert report["one_to_ddp"]
    assert report["shards"] == "DTensor"
    assert report["rng_restored_from_one"] is False


def test_two_processes_to_two(report: dict[str, Any]) -> None:
    assert report["fsdp_to_fsdp"]
    assert report["fsdp_to_ddp"]
    assert report["rng_continues"]


@pytest.mark.parametrize("name", ["two", "ddp"])
def test_two_processes_to_one(group: Path, name: str) -> None:
    path = checkpoint.latest(group / name)
    assert path is not None
    model, optimizer = build()
    loaded = checkpoint.load(path, model=model, optimizer=optimizer, tokenizer_fingerprint="tok")
    assert not loaded.rng_restored
    assert loaded.manifest.world_size == 2
    expected, found = load_file(group / f"{name}.safetensors"), contents(model, optimizer)
    assert expected.keys() == found.keys()
    for tensor, value in expected.items():
        assert found[tensor].dtype == value.dtype, tensor
        assert torch.equal(found[tensor], value), tensor


def test_both_processes_write_and_each_weight_once(group: Path) -> None:
    for path in (group / "two/step-00000002", group / "ddp/step-00000003"):
        shards = [load_file(path / f"state/rank-{rank:05d}.safetensors") for rank in range(2)]
        assert all(shards)
        values = sum(tensor.numel() for shard in shards for tensor in shard.values())
        expected = load_file(group / "two.safetensors")
        assert values == sum(tensor.numel() for tensor in expected.values())
        assert len(list((path / "rng").iterdir())) == 2


def test_a_process_that_cannot_write_stops_all_from_publishing(report: dict[str, Any]) -> None:
    for part in ("tensors", "random"):
        assert "process 1: OSError: [Errno 28] No space left" in report[f"failed_{part}"]
    assert report["left"] == ["last", "step-00000002"]
    assert report["latest"] == "step-00000002"


def test_what_one_process_refuses_all_refuse(report: dict[str, Any]) -> None:
    assert "process 1" in report["disagreed"]
    assert "another tokenizer" in report["disagreed"]
