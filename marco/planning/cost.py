"""How long a run takes at an assumed share of a device's peak, and what that costs."""

from __future__ import annotations

from typing import Any

from marco.config import RunSettings
from marco.kernels.chips import CHIPS
from marco.planning.options import CPU, PlanOptions


def time_of(run: RunSettings, options: PlanOptions, flops: float, tokens: int) -> dict[str, Any]:
    """Hours = FLOPs / (devices × peak × MFU); all None on a CPU, whose peak nobody states."""
    devices = options.devices or run.trainer.devices
    facts: dict[str, Any] = {"device": options.device, "devices": devices, "mfu": options.mfu}
    if options.device == CPU:
        empty = ("hours", "device_hours", "tokens_per_second", "cost")
        return {**facts, "mfu": None, **dict.fromkeys(empty)}
    dtype = "float32" if run.trainer.precision == "fp32" else "bfloat16"
    peak = CHIPS[options.device].matrix_rates[dtype]
    seconds = flops / (devices * peak * options.mfu)
    device_hours = seconds * devices / 3600
    price = options.price_per_hour
    return {
        **facts,
        "peak_flops": peak,
        "hours": seconds / 3600,
        "device_hours": device_hours,
        "tokens_per_second": tokens / seconds,
        "price_per_hour": price,
        "cost": None if price is None else device_hours * price,
    }
