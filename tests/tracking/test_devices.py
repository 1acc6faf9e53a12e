from __future__ import annotations

import platform

import pytest
import torch

from marco.tracking.devices import DEVICES, find_device, machine
from marco.tracking.flops import training_flops_per_token


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989.5),
        ("NVIDIA B200", 2250),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("AMD Instinct MI300X", 1307.4),
    ],
)
def test_known(name: str, teraflops: float) -> None:
    device = find_device(name)
    assert device is not None
    assert device.bf16_flops == pytest.approx(teraflops * 1e12)
    assert device.source


@pytest.mark.parametrize(
    "name",
    [
        "cpu",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
        "NVIDIA H100",
        "NVIDIA GH200 480GB",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA A800-SXM4-80GB",
        "NVIDIA L40",
        "",
    ],
)
def test_half_known_is_unknown(name: str) -> None:
    assert find_device(name) is None


def test_names_are_unique() -> None:
    assert len({device.name for device in DEVICES}) == len(DEVICES)


def test_flops_of_palm() -> None:
    # GPT-2 small's shape at 1,024 tokens, by hand: 6 N + 12 · 12 · (12 · 64) · 1024
    flops = training_flops_per_token(
        matmul_parameters=124_000_000, layers=12, attention_width=768, sequence_length=1024
    )
    assert flops == 744_000_000 + 113_246_208


def test_what_a_run_is_made_on_in_words() -> None:
    said = machine(torch.device("cpu"), 2, 4)
    assert said == f"2 × cpu ({platform.machine()}), 4 threads each"
