"""The GPUs that the kernels are built for: their limits and their rates.

Rates are those of the makers' data sheets, dense, at boost clocks: what a model may assume, not
what a kernel reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIB = 1024
GB = 10**9
TERA = 10**12


@dataclass(frozen=True)
class Chip:
    """One GPU.

    Attributes:
        name: as a user would write it, in lower case.
        backend: of `triton.backends.compiler.GPUTarget`: `cuda` or `hip`.
        arch: of the same: 80, 90, 100 or "gfx942".
        warp: threads of a warp (AMD: a wavefront).
        processors: multiprocessors (AMD: compute units).
        registers: 32-bit registers of one multiprocessor.
        registers_a_thread: the most that one thread may have.
        threads: the most that one multiprocessor holds at a time.
        blocks: the most thread blocks that one multiprocessor holds at a time.
        shared: bytes of shared memory (AMD: LDS) of one multiprocessor.
        shared_a_block: the most bytes of it that one block may have.
        l2: bytes of the last cache before memory (MI300X: its Infinity Cache).
        memory: bytes.
        bandwidth: of that memory, bytes a second.
        matrix_rates: FLOP a second of matrix products, by type.
        vector_rate: FLOP a second in fp32 outside of the matrix units.
        source: where the figures stand.
    """

    name: str
    backend: str
    arch: int | str
    warp: int
    processors: int
    registers: int
    registers_a_thread: int
    threads: int
    blocks: int
    shared: int
    shared_a_block: int
    l2: int
    memory: int
    bandwidth: float
    matrix_rates: Mapping[str, float]
    vector_rate: float
    source: str


_CUDA_LIMITS = "CUDA C++ Programming Guide, technical specifications per compute capability"
_H100_RATES = {"bfloat16": 989 * TERA, "float16": 989 * TERA, "float32": 67 * TERA}


def _nvidia(
    name: str,
    arch: int,
    *,
    processors: int,
    shared: int,
    l2: int,
    memory: int,
    bandwidth: float,
    rates: Mapping[str, float],
    vector: float,
    source: str,
) -> Chip:
    return Chip(
        name,
        "cuda",
        arch,
        warp=32,
        processors=processors,
        registers=65_536,
        registers_a_thread=255,
        threads=2_048,
        blocks=32,
        shared=shared * KIB,
        shared_a_block=(shared - 1) * KIB,
        l2=l2,
        memory=memory,
        bandwidth=bandwidth,
        matrix_rates=rates,
        vector_rate=vector,
        source=f"{source}; {_CUDA_LIMITS}",
    )


#: By name. fp32 products are at full fp32 (no TF32), as the kernels ask.
CHIPS = {
    chip.name: chip
    for chip in (
        _nvidia(
            "a100",
            80,
            processors=108,
            shared=164,
            l2=40 * KIB**2,
            memory=80 * GB,
            bandwidth=2.039e12,
            rates={"bfloat16": 312 * TERA, "float16": 312 * TERA, "float32": 19.5 * TERA},
            vector=19.5 * TERA,
            source="NVIDIA A100 80GB SXM data sheet; A100 architecture white paper",
        ),
        _nvidia(
            "h100",
            90,
            processors=132,
            shared=228,
            l2=50 * KIB**2,
            memory=80 * GB,
            bandwidth=3.35e12,
            rates=_H100_RATES,
            vector=67 * TERA,
            source="NVIDIA H100 SXM data sheet; H100 architecture white paper",
        ),
        _nvidia(
            "h200",
            90,
            processors=132,
            shared=228,
            l2=50 * KIB**2,
            memory=141 * GB,
            bandwidth=4.8e12,
            rates=_H100_RATES,
            vector=67 * TERA,
            source="NVIDIA H200 SXM data sheet",
        ),
        _nvidia(
            "b200",
            100,
            processors=148,
            shared=228,
            l2=126 * KIB**2,
            memory=180 * GB,
            bandwidth=7.7e12,
            rates={"bfloat16": 2_250 * TERA, "float16": 2_250 * TERA, "float32": 75 * TERA},
            vector=75 * TERA,
            source="NVIDIA HGX B200 data sheet (an eighth of it)",
        ),
        Chip(
            "mi300x",
            "hip",
            "gfx942",
            warp=64,
            processors=304,
            registers=4 * 512 * 64,
            registers_a_thread=512,
            threads=2_048,
            blocks=32,
            shared=64 * KIB,
            shared_a_block=64 * KIB,
            l2=256 * KIB**2,
            memory=192 * GB,
            bandwidth=5.3e12,
            matrix_rates={
                "bfloat16": 1_307.4 * TERA,
                "float16": 1_307.4 * TERA,
                "float32": 163.4 * TERA,
            },
            vector_rate=163.4 * TERA,
            source="AMD Instinct MI300X data sheet; CDNA 3 ISA guide and white paper",
        ),
    )
}
