"""What the linear distillation launches: logits live in registers, tile by tile."""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import spaces
from marco.kernels._grid import group_of_tiles, group_of_walks
from marco.kernels._linear_distillation_kernels_triton import (
    INTERPRETED,
    linear_distillation_bwd_kernel,
    linear_distillation_fwd_kernel,
    linear_distillation_hidden_kernel,
    linear_distillation_lse_kernel,
)
from marco.kernels.device import device_of
from marco.kernels.launches import launch
from marco.kernels.spaces import Options
from marco.kernels.tuning import choose

MODES = {"kl": 0, "reverse_kl": 1, "js": 2}


def log_sum_exps(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperature: float,
    limit: int,
    slab: int,
) -> tuple[Tensor, Tensor]:
    """Of both heads: a slab's largest logit z and sum exp(logit - z), fp32 `[slabs, 2, tokens]`."""

    def one(hidden: Tensor, weight: Tensor) -> Tensor:
        hidden, weight = hidden.contiguous(), weight.contiguous()
        tokens, size = hidden.shape
        slabs = triton.cdiv(limit, slab)
        parts = hidden.new_empty(slabs, 2, tokens, dtype=torch.float32)

        def run(options: Options) -> None:
            launch(
                "linear_distillation_lse_kernel",
                linear_distillation_lse_kernel[(slabs, triton.cdiv(tokens, options["b_token"]))],
                hidden,
                weight,
                parts,
                tokens,
                limit,
                size,
                slab,
                temperature,
                group_of_walks(tokens, options["b_token"], _line(hidden)),
                **options,
            )

        space = spaces.distillation(hidden, heads=1, walks=True)
        run(choose("linear_distillation_lse", space, hidden, (tokens, limit, size), run))
        return parts

    return one(student_hidden, student_weight), one(teacher_hidden, teacher_weight)


def divergences(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    student_lse: Tensor,
    teacher_lse: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
    slab: int,
) -> tuple[Tensor, Tensor]:
    """KL(t ‖ s) or, of `js`, KL(t ‖ m); KL(s ‖ t) or KL(s ‖ m); zeros for one not asked for."""
    tokens, student_size = student_hidden.shape
    slabs = triton.cdiv(limit, slab)
    from_teacher = student_hidden.new_empty(slabs, tokens, dtype=torch.float32)
    from_student = torch.empty_like(from_teacher)
    tensors = [student_hidden, student_weight, teacher_hidden, teacher_weight]
    tensors = [x.contiguous() for x in tensors]
    teacher_size = teacher_hidden.shape[1]
    line = _line(student_hidden) + _line(teacher_hidden)

    def run(options: Options) -> None:
        launch(
            "linear_distillation_fwd_kernel",
            linear_distillation_fwd_kernel[(slabs, triton.cdiv(tokens, options["b_token"]))],
            *tensors,
            student_lse,
            teacher_lse,
            from_teacher,
            from_student,
            tokens,
            limit,
            student_size,
            teacher_size,
            slab,
            temperature,
            group_of_walks(tokens, options["b_token"], line),
            MODES[divergence],
            **options,
        )

    space = spaces.distillation(student_hidden, teacher_hidden, heads=2, walks=True)
    sizes = (tokens, limit, student_size, teacher_size)
    run(choose(f"linear_distillation_{divergence}_fwd", space, student_hidden, sizes, run))
    return from_teacher.sum(0), from_student.sum(0)


def gradients(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    incoming: Tensor,
    student_lse: Tensor,
    teacher_lse: Tensor,
    student_kl: Tensor,
    d_weight: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
    slab: int,
) -> Tensor:
    """Fills `d_weight[:limit]`; returns the hidden states' gradient `[tokens, hidden]`, fp32."""
    student_hidden, student_weight = student_hidden.contiguous(), student_weight.contiguous()
    teacher_hidden, teacher_weight = teacher_hidden.contiguous(), teacher_weight.contiguous()
    tokens, size = student_hidden.shape
    teacher_size = teacher_hidden.shape[1]
    d_hidden = torch.empty_like(student_hidden, dtype=torch.float32)
    # Triton's interpreter cuts numbers off to bf16: there torch rounds them.
    stored = torch.float32 if INTERPRETED else student_hidden.dtype
    d_slab = student_hidden.new_empty(tokens, slab, dtype=stored)
    incoming = incoming.contiguous()
    line, device = _line(student_weight) + _line(teacher_weight), device_of(student_hidden)

    def make_gradient(first: int, options: Options) -> None:
        rows = min(slab, limit - first)
        tile = options["b_token"], options["b_row"]
        grid = (triton.cdiv(rows, tile[1]), triton.cdiv(tokens, tile[0]))
        launch(
            "linear_distillation_bwd_kernel",
            linear_distillation_bwd_kernel[grid],
            student_hidden,
            student_weight,
            teacher_hidden,
            teacher_weight,
            incoming,
            student_lse,
            teacher_lse,
            student_kl,
            d_slab,
            tokens,
            first,
            limit,
            size,
            teacher_size,
            slab,
            temperature,
            group_of_tiles(tile, slab * line, device),
            MODES[divergence],
            **options,
        )

    def add_hidden(d_logits: Tensor, first: int, options: Options) -> None:
        rows = min(slab, limit - first)
        tile = options["b_token"], options["b_size"]
        grid = (triton.cdiv(size, tile[1]), triton.cdiv(tokens, tile[0]))
        launch(
            "linear_distillation_hidden_kernel",
            linear_distillation_hidden_kernel[grid],
            d_logits,
            student_weight[first : first + rows],
            d_hidden,
            tokens,
            rows,
            size,
            slab,
            group_of_tiles(tile, rows * _line(student_weight), device),
            **options,
        )

    op = f"linear_distillation_{divergence}"
    chosen = choose(
        f"{op}_bwd",
        spaces.distillation(student_hidden, teacher_hidden, heads=2, walks=False),
        student_hidden,
        (tokens, slab, size, teacher_size),
        lambda options: make_gradient(0, options),
    )
    adding = choose(
        f"{op}_hidden",
        spaces.distillation_hidden(student_hidden),
        student_hidden,
        (tokens, slab, size),
        lambda options: add_hidden(d_slab.to(student_hidden.dtype), 0, options),
    )
    d_hidden.zero_()  # only now: a measurement adds to it
    for first in range(0, limit, slab):
        rows = min(slab, limit - first)
        make_gradient(first, chosen)
        d_logits = d_slab.to(student_hidden.dtype)
        add_hidden(d_logits, first, adding)
        torch.mm(d_logits[:, :rows].T, student_hidden, out=d_weight[first : first + rows])
    return d_hidden


def _line(x: Tensor) -> int:
    """Bytes of a row."""
    return x.shape[1] * x.element_size()
