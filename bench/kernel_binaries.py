"""Compiling a launch for a GPU that is not here, and reading what came out of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import triton  # type: ignore[import-untyped]
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
from triton.compiler import ASTSource, make_backend  # type: ignore[import-untyped]
from triton.runtime.jit import create_function_from_signature  # type: ignore[import-untyped]

from bench.kernel_launches import Launch
from marco.kernels.chips import KIB, Chip

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass
class Binary:
    """One kernel, compiled.

    Attributes:
        registers: of a thread (AMD: vector registers).
        spills: bytes of a thread that do not fit its registers.
        shared: bytes of a block.
        warps: of a block.
        occupancy: share of the warps that a multiprocessor can hold.
        loads: bytes that a thread's global loads fetch at a time, and how many such loads there
            are, outside of loops and inside.
        matrix: matrix instructions by name.
        doubles: fp64 instructions.
    """

    registers: int
    spills: int
    shared: int
    warps: int
    occupancy: float
    loads: dict[int, int] = field(default_factory=dict)
    loop_loads: dict[int, int] = field(default_factory=dict)
    matrix: dict[str, int] = field(default_factory=dict)
    doubles: int = 0


def source_and_options(launch: Launch, chip: Chip) -> tuple[Any, Any, GPUTarget]:
    """What Triton's JIT would compile: with the types and divisibilities of these arguments."""
    target = GPUTarget(chip.backend, chip.arch, chip.warp)
    backend, kernel = make_backend(target), launch.kernel
    options = {**launch.options, "debug": False}
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialization, rest = binder(*launch.args, **options)
    options, signature, constants, attributes = kernel._pack_args(
        backend, options, bound, specialization, rest
    )
    return ASTSource(kernel, signature, constants, attributes), options, target


def compiled(launch: Launch, chip: Chip) -> Binary:
    """Compile for the chip; raises what Triton raises."""
    source, options, target = source_and_options(launch, chip)
    made = triton.compile(source, target=target, options=options.__dict__)
    shared, warps = made.metadata.shared, made.metadata.num_warps
    if chip.backend == "hip":
        registers, spills = _amd_resources(made.asm["amdgcn"])
        code = _amd_code(made.asm["amdgcn"])
    else:
        registers, spills = _nvidia_resources(made.asm["cubin"])
        code = _nvidia_code(made.asm["cubin"])
    binary = Binary(registers, spills, shared, warps, occupancy(registers, shared, warps, chip))
    _read(code, binary, _AMD if chip.backend == "hip" else _NVIDIA)
    return binary


def occupancy(registers: int, shared: int, warps: int, chip: Chip) -> float:
    """Share of a multiprocessor's warps that run at a time, 0 where a block does not fit.

    Registers are given out in units of 8 a thread; NVIDIA keeps 1 KiB of shared memory a block.
    """
    kept = KIB if chip.backend == "cuda" and shared else 0
    a_warp = max(8, ceil(registers / 8) * 8) * chip.warp
    blocks = min(
        chip.blocks,
        chip.threads // (warps * chip.warp),
        chip.registers // a_warp // warps,
        chip.shared // (shared + kept) if shared else chip.blocks,
    )
    if shared > chip.shared_a_block:
        return 0.0
    return blocks * warps * chip.warp / chip.threads


@dataclass(frozen=True)
class _Dialect:
    """How an instruction set writes what is looked for."""

    load: re.Pattern[str]
    sizes: dict[str, int]
    matrix: re.Pattern[str]
    double: re.Pattern[str]


_NVIDIA = _Dialect(
    # LDGSTS copies to shared memory on its way; TMA (UTMALDG) moves whole tiles.
    re.compile(r"\b(?:LDG|LDGSTS)\.E(?P<size>(?:\.\w+)*)"),
    {"256": 32, "128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1},
    re.compile(r"\b(HMMA|HGMMA|QGMMA|UTC\w*MMA|DMMA|IMMA)[.\w]*"),
    re.compile(r"\b(?:DADD|DMUL|DFMA|DSETP|DMNMX|DMMA|F2F\.F64\S*|F2F\.\w+\.F64)\b"),
)
_AMD = _Dialect(
    re.compile(r"\b(?:global|buffer|flat)_load_(?P<size>[a-z0-9_]+)"),
    {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "short": 2, "byte": 1},
    re.compile(r"\b(v_s?mfma\w*)"),
    re.compile(r"\bv_(?:add|mul|fma|max|min|rcp|cvt)\w*_f64\b"),
)


def _read(code: list[tuple[str, bool]], binary: Binary, dialect: _Dialect) -> None:
    for line, in_loop in code:
        if load := dialect.load.search(line):
            size = next((n for name, n in dialect.sizes.items() if name in load["size"]), 4)
            counts = binary.loop_loads if in_loop else binary.loads
            counts[size] = counts.get(size, 0) + 1
        if product := dialect.matrix.search(line):
            name = product[1]
            binary.matrix[name] = binary.matrix.get(name, 0) + 1
        binary.doubles += bool(dialect.double.search(line))


def _tool(name: str, *arguments: str, cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(TOOLS / name), *arguments, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _nvidia_resources(cubin: bytes) -> tuple[int, int]:
    """Registers, and bytes of stack: without calls only spills (and indexed arrays) lie there."""
    text = _tool("cuobjdump", "--dump-resource-usage", cubin=cubin)
    found = re.search(r"REG:(\d+) STACK:(\d+).* LOCAL:(\d+)", text)
    if found is None:
        raise ValueError(f"cuobjdump says nothing of registers:\n{text}")
    return int(found[1]), int(found[2]) + int(found[3])


def _nvidia_code(cubin: bytes) -> list[tuple[str, bool]]:
    """Instructions in order, and whether a branch back spans each."""
    text = _tool("cuobjdump", "-sass", cubin=cubin)
    lines = [
        (int(found[1], 16), found[2])
        for found in re.finditer(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", text)
    ]
    loops = []
    for address, line in lines:
        branch = re.search(r"\bBRA\S*\s+(?:\S+,\s*)*`?\(?(?:\.\w+|0x([0-9a-f]+))", line)
        # A branch to itself is padding after the end.
        if branch and branch[1] and int(branch[1], 16) < address:
            loops.append((int(branch[1], 16), address))
    return [(line, any(a <= address <= b for a, b in loops)) for address, line in lines]


def _amd_resources(text: str) -> tuple[int, int]:
    def value(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", text)
        if found is None:
            raise ValueError(f"the assembly does not say .{name}")
        return int(found[1])

    # Scalar registers spill into lanes of vector registers; where those do not do, into the private
    # segment.
    spills = 4 * value("vgpr_spill_count")
    return value("vgpr_count"), spills + value("private_segment_fixed_size")


def _amd_code(text: str) -> list[tuple[str, bool]]:
    lines = text.splitlines()
    labels = {
        found[1]: n for n, line in enumerate(lines) if (found := re.match(r"(\.?\w+):", line))
    }
    loops = []
    for number, line in enumerate(lines):
        branch = re.search(r"\bs_c?branch\w*\s+(\.?\w+)", line)
        if branch and labels.get(branch[1], number) < number:
            loops.append((labels[branch[1]], number))
    return [(line, any(a <= n <= b for a, b in loops)) for n, line in enumerate(lines)]
