"""Memory of one device: weights, gradients, optimizer state and a step's peak, by strategy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from marco.config import RunSettings
from marco.kernels.chips import CHIPS
from marco.models.kernels import Backend
from marco.models.recompute import Recompute
from marco.planning.memory_trace import StepPeak, StepShape, step_peak
from marco.planning.network import Network
from marco.planning.options import CPU, PlanOptions
from marco.planning.process import process_of

#: Bytes a parameter by precision: weight, gradient, optimizer state, and what an update makes
#: for itself (`marco.training.master_adamw` copies all gradients to fp32).
BYTES = {
    "fp32": (4, 4, 8, 0),
    "bf16-autocast": (4, 4, 8, 0),
    "bf16-master": (2, 2, 12, 4),
}
GATHERED_LAYERS = 2  # the one that computes, and the next, which FSDP2 fetches meanwhile


@dataclass(frozen=True)
class Memory:
    """Bytes on one device. `total` is the sum: the most that is in use at any time of a step.

    Attributes:
        gathered: FSDP2's whole copies of weights, and gradients not yet reduced.
        activations: everything else at the peak; during the update, what that makes for itself.
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        parts = (self.weights, self.gradients, self.optimizer, self.gathered, self.activations)
        return sum(parts)


def memory_of(
    network: Network, precision: str, strategy: str, devices: int, accumulation: int, peak: StepPeak
) -> Memory:
    """Put a step's peak on top of what is always there.

    `single` has gradients only from a step's first backward on; DDP's buckets, and gradients that
    wait for another micro-batch, are there throughout. Where not all is trained, what a step of
    all would keep besides gradients is taken.
    """
    weight, gradient, state, update = BYTES[precision]
    shards = devices if strategy == "fsdp2" else 1
    own = -(-network.parameters // shards)
    gathered = 0
    if strategy == "fsdp2":
        whole = network.root + GATHERED_LAYERS * network.layer
        gathered = min(whole, network.parameters) * (weight + gradient)
    trained = -(-network.trained // shards)
    gradients = gradient * trained
    if strategy == "single" and accumulation == 1 and trained == own:
        activations = max(peak.fresh - gradients, 0)
    else:
        activations = peak.waiting
    return Memory(
        weights=weight * own,
        gradients=gradients,
        optimizer=state * trained,
        gathered=gathered,
        activations=max(activations, update * trained - gathered),
    )


def memory_report(
    run: RunSettings, options: PlanOptions, network: Network, languages: int
) -> dict[str, Any]:
    """The run's own memory, every strategy's, and what the fused loss and checkpointing save.

    `languages` are those of the data.
    """
    trainer = run.trainer
    devices = options.devices or trainer.devices
    rows = run.batch.micro(devices)
    accumulation = run.batch.sequences // (rows * devices)
    backend = backend_of(run, options)
    chosen = StepShape(
        rows=rows,
        length=run.batch.sequence_length,
        precision=trainer.precision,
        backend=backend,
        fused_loss=backend != "reference",
        checkpointing=trainer.gradient_checkpointing,
    )
    ways: dict[Recompute, None] = {True: None, False: None, trainer.gradient_checkpointing: None}
    peaks = {
        (fused, again): step_peak(
            network.config, replace(chosen, fused_loss=fused, checkpointing=again)
        )
        for fused in (True, False)
        for again in ways
    }
    own = peaks[chosen.fused_loss, chosen.checkpointing]
    strategy = "ddp" if devices > 1 and trainer.strategy == "single" else trainer.strategy

    def of(strategy: str, peak: StepPeak = own) -> dict[str, int]:
        count = 1 if strategy == "single" else devices
        found = memory_of(network, trainer.precision, strategy, count, accumulation, peak)
        return {**asdict(found), "total": found.total}

    there = CHIPS[options.device].memory if options.device != CPU else None
    result = of(strategy)
    process = (
        process_of(run, network.config, result["total"], languages)
        if options.device == CPU
        else None
    )
    variants = [
        {"fused_loss": fused, "checkpointing": again, **of(strategy, peak)}
        for (fused, again), peak in peaks.items()
    ]
    return {
        **result,
        "strategy": strategy,
        "precision": trainer.precision,
        "backend": backend,
        "fused_loss": chosen.fused_loss,
        "checkpointing": chosen.checkpointing,
        "micro_sequences": rows,
        "accumulation": accumulation,
        "device_memory": there,
        "fits": None if there is None else result["total"] <= there,
        "process": None if process is None else {**asdict(process), "total": process.total},
        "strategies": {name: of(name) for name in ("single", "ddp", "fsdp2")},
        "variants": variants,
    }


def backend_of(run: RunSettings, options: PlanOptions) -> Backend:
    """What `kernels` would be on the device that is planned for."""
    if run.kernels.backend in get_args(Backend):
        named: Backend = run.kernels.backend
        return named
    return "torch" if options.device == CPU else "triton"
