"""Distillation through two LM heads, with no `[tokens, vocabulary]` tensor in memory.

Both heads' logits are made slab by slab of the vocabulary, once for the normalisers, once for the
divergence, and once more in the backward: twice the arithmetic of the plain twin, in memory
of `tokens × vocabulary / 48`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from marco.kernels._derivatives import require_no_tangents
from marco.kernels._shapes import require_one_device

Divergence = Literal["kl", "reverse_kl", "js"]
Backend = Literal["torch", "triton"]

#: A vocabulary is cut into at most this many slabs, each of a multiple of SLAB_ROWS rows.
SLABS = 48
SLAB_ROWS = 128


def linear_distillation(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    limit: int | None = None,
    backend: Backend = "torch",
) -> Tensor:
    """How far the student's predictions are from the teacher's, token by token: `[tokens]`, fp32.

    With t and s the softmaxes of the logits over `temperature`, `kl` is KL(t ‖ s), `reverse_kl` is
    KL(s ‖ t) and `js` is ½ KL(t ‖ m) + ½ KL(s ‖ m) with m = ½ (s + t), in nats, times
    `temperature`², which keeps the gradients' size (Hinton et al. 2015, arXiv 1503.02531).
    Logits, and all that follows from them, are in fp32 (fp64 for fp64 inputs, torch only).
    There are gradients for the student's two tensors only.

    Args:
        student_hidden: `[tokens, student's hidden]`.
        student_weight: `[rows, student's hidden]`; another type than the hidden states' is cast
            to theirs, as autocast would.
        teacher_hidden: `[tokens, teacher's hidden]`.
        teacher_weight: `[rows, teacher's hidden]`, cast like the student's.
        divergence: which divergence.
        temperature: what the logits are divided by, above 0.
        limit: only the first `limit` rows take part (a padded vocabulary); `None` takes all.
        backend: `torch` runs anywhere; `triton` wants fp32, bf16 or fp16.

    Raises:
        ValueError: shapes or devices that do not fit, or an argument outside its range.
        NotImplementedError: forward-mode AD.
    """
    require_no_tangents(
        "linear_distillation", student_hidden=student_hidden, student_weight=student_weight
    )
    hidden, weights = (student_hidden, teacher_hidden), (student_weight, teacher_weight)
    rows = _checked_rows(hidden, weights, divergence, temperature, limit)
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, not {backend!r}")
    if backend == "triton" and torch.float64 in (student_hidden.dtype, teacher_hidden.dtype):
        raise ValueError("backend 'triton' has no float64; use backend 'torch'")
    outputs = _forward(
        student_hidden,
        student_weight.to(student_hidden.dtype),
        teacher_hidden.detach(),
        teacher_weight.detach().to(teacher_hidden.dtype),
        divergence,
        float(temperature),
        rows,
        backend,
    )
    value: Tensor = outputs[0]
    return value


def linear_distillation_naive(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    limit: int | None = None,
) -> Tensor:
    """The plain twin of `linear_distillation`: logits whole, and rounded to the inputs' type."""
    hidden, weights = (student_hidden, teacher_hidden), (student_weight, teacher_weight)
    rows = _checked_rows(hidden, weights, divergence, temperature, limit)
    student, teacher = (
        (F.linear(x, w[:rows].to(x.dtype)).to(_wide(*hidden)) / temperature).log_softmax(-1)
        for x, w in zip(hidden, weights, strict=True)
    )
    teacher = teacher.detach()
    if divergence == "kl":
        value = (teacher.exp() * (teacher - student)).sum(-1)
    elif divergence == "reverse_kl":
        value = (student.exp() * (student - teacher)).sum(-1)
    else:
        middle = torch.logaddexp(student, teacher) - math.log(2)
        value = (teacher.exp() * (teacher - middle) + student.exp() * (student - middle)).sum(-1)
        value = value / 2
    return value * temperature**2


def _checked_rows(
    hidden: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
    divergence: str,
    temperature: float,
    limit: int | None,
) -> int:
    """How many rows take part."""
    require_one_device(
        "linear_distillation",
        student_hidden=hidden[0],
        student_weight=weights[0],
        teacher_hidden=hidden[1],
        teacher_weight=weights[1],
    )
    for name, x, w in zip(("student", "teacher"), hidden, weights, strict=True):
        if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
            raise ValueError(
                f"{name}_hidden must be [tokens, hidden] and {name}_weight [rows, hidden], "
                f"not {list(x.shape)} and {list(w.shape)}"
            )
    for what, (student, teacher) in (("hidden states", hidden), ("weights", weights)):
        if student.shape[0] != teacher.shape[0]:
            raise ValueError(
                f"student and teacher must have as many rows of {what}, "
                f"not {student.shape[0]} and {teacher.shape[0]}"
            )
    if divergence not in get_args(Divergence):
        raise ValueError(f"divergence must be one of {get_args(Divergence)}, not {divergence!r}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and above 0, not {temperature}")
    rows = weights[0].shape[0]
    limit = rows if limit is None else limit
    if not 1 <= limit <= rows:
        raise ValueError(f"limit must be between 1 and the weights' {rows} rows, not {limit}")
    return limit


def _wide(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in {x.dtype for x in tensors} else torch.float32


def _slab(limit: int) -> int:
    """Rows of a slab."""
    return SLAB_ROWS * -(-limit // (SLABS * SLAB_ROWS))


@torch.library.custom_op("marco::linear_distillation", mutates_args=())
def _forward(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Divergence; both heads' `_terms`; KL(s ‖ t) or, of `js`, KL(s ‖ m), for the gradient."""
    tensors = (student_hidden, student_weight, teacher_hidden, teacher_weight)
    if student_hidden.shape[0] == 0:
        nothing = student_hidden.new_empty(0, dtype=_wide(student_hidden, teacher_hidden))
        terms = nothing.new_empty(2, 0)
        return nothing, terms, terms.clone(), nothing.clone()
    if backend == "triton":
        from marco.kernels import linear_distillation_triton as kernels

        student, teacher = kernels.log_sum_exps(*tensors, temperature, limit, _slab(limit))
        lse = _terms(student), _terms(teacher)
        sums = kernels.divergences(*tensors, *lse, divergence, temperature, limit, _slab(limit))
    else:
        # Inside an op autocast still reigns, and would round the logits.
        with torch.autocast(student_hidden.device.type, enabled=False):
            lse = _log_sum_exps(tensors, temperature, limit)
            sums = _divergences(tensors, lse, divergence, temperature, limit)
    value = {"kl": sums[0], "reverse_kl": sums[1], "js": (sums[0] + sums[1]) / 2}[divergence]
    return value * temperature**2, *lse, sums[1]


@torch.library.custom_op("marco::linear_distillation_backward", mutates_args=())
def _backward(
    incoming: Tensor,
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    student_lse: Tensor,
    teacher_lse: Tensor,
    student_kl: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Gradients of the student's hidden states and weight; zero in rows beyond `limit`."""
    tensors = (student_hidden, student_weight, teacher_hidden, teacher_weight)
    d_weight = student_weight.new_zeros(student_weight.shape)
    if student_hidden.shape[0] == 0:
        return student_hidden.new_empty(student_hidden.shape), d_weight
    per_token = (incoming * temperature, student_lse, teacher_lse, student_kl)
    # Inside an op autocast still reigns, and would round the logits.
    with torch.autocast(student_hidden.device.type, enabled=False):
        if backend == "triton":
            from marco.kernels import linear_distillation_triton as kernels

            d_hidden = kernels.gradients(
                *tensors, *per_token, d_weight, divergence, temperature, limit, _slab(limit)
            )
        else:
            d_hidden = _gradients(tensors, per_token, d_weight, divergence, temperature, limit)
    return d_hidden.to(student_hidden.dtype), d_weight


@_forward.register_fake
def _(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = _wide(student_hidden, teacher_hidden)
    tokens = student_hidden.shape[0]
    value, student_kl = (student_hidden.new_empty(tokens, dtype=wide) for _ in range(2))
    student_lse, teacher_lse = (student_hidden.new_empty(2, tokens, dtype=wide) for _ in range(2))
    return value, student_lse, teacher_lse, student_kl


@_backward.register_fake
def _(
    incoming: Tensor, student_hidden: Tensor, student_weight: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    d_hidden = student_hidden.new_empty(student_hidden.shape)
    return d_hidden, student_weight.new_empty(student_weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], *output[1:])
    ctx.options = inputs[4:]


def _autograd(ctx: Any, incoming: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
    d_hidden, d_weight = _backward(incoming, *ctx.saved_tensors, *ctx.options)
    return d_hidden, d_weight, *[None] * 6


_forward.register_autograd(_autograd, setup_context=_setup_context)


def _logits(
    tensors: tuple[Tensor, ...], temperature: float, limit: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Each slab's rows, and the student's and the teacher's logits `[tokens, slab]`, wide."""
    student_hidden, student_weight, teacher_hidden, teacher_weight = tensors
    wide = _wide(student_hidden, teacher_hidden)
    student_hidden, teacher_hidden = student_hidden.to(wide), teacher_hidden.to(wide)
    for start in range(0, limit, _slab(limit)):
        rows = slice(start, min(start + _slab(limit), limit))
        student = student_hidden @ student_weight[rows].to(wide).T / temperature
        yield rows, student, teacher_hidden @ teacher_weight[rows].to(wide).T / temperature


def _terms(parts: Tensor) -> Tensor:
    """Largest logit z and log sum exp(logit - z) `[2, tokens]`, of those `[slabs, 2, tokens]`.

    Their sum, the log-sum-exp, is rounded to the size of the logits, and with it every probability.
    """
    tops, sums = parts.unbind(1)
    top = tops.amax(0)
    # Where the largest is infinite every probability is NaN, as in softmax.
    return torch.stack((top, ((tops - top).exp() * sums).sum(0).log()))


def _log_sum_exps(
    tensors: tuple[Tensor, ...], temperature: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Both heads' `_terms`."""

    def part(logits: Tensor) -> Tensor:
        top = logits.amax(-1)
        # All -inf: any finite number keeps the differences from being NaN.
        base = top.masked_fill(top == -torch.inf, 0.0)
        return torch.stack((top, (logits - base[:, None]).exp().sum(-1)))

    slabs = [
        (part(student), part(teacher))
        for _, student, teacher in _logits(tensors, temperature, limit)
    ]
    student, teacher = (_terms(torch.stack(parts)) for parts in zip(*slabs, strict=True))
    return student, teacher


def _log_probabilities(logits: Tensor, terms: Tensor) -> Tensor:
    return logits - terms[0][:, None] - terms[1][:, None]


def _to_middle(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """log s - log m and log t - log m, both exactly 0 where s is t."""
    apart = teacher - student
    above = torch.log(0.5 + 0.5 * torch.exp(-apart.abs()))
    return -apart.clamp(min=0) - above, apart.clamp(max=0) - above


def _divergences(
    tensors: tuple[Tensor, ...],
    lse: tuple[Tensor, Tensor],
    divergence: str,
    temperature: float,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """KL(t ‖ s) or, of `js`, KL(t ‖ m); KL(s ‖ t) or KL(s ‖ m); zeros for one not asked for."""
    from_teacher, from_student = (torch.zeros_like(lse[0][0]) for _ in range(2))
    for _, student, teacher in _logits(tensors, temperature, limit):
        student = _log_probabilities(student, lse[0])
        teacher = _log_probabilities(teacher, lse[1])
        if divergence == "kl":
            from_teacher += (teacher.exp() * (teacher - student)).sum(-1)
        elif divergence == "reverse_kl":
            from_student += (student.exp() * (student - teacher)).sum(-1)
        else:
            student_gap, teacher_gap = _to_middle(student, teacher)
            from_teacher += (teacher.exp() * teacher_gap).sum(-1)
            from_student += (student.exp() * student_gap).sum(-1)
    return from_teacher, from_student


def _gradients(
    tensors: tuple[Tensor, ...],
    per_token: tuple[Tensor, ...],
    d_weight: Tensor,
    divergence: str,
    temperature: float,
    limit: int,
) -> Tensor:
    """Fills `d_weight[:limit]`; returns the hidden states' gradient, wide."""
    incoming, student_lse, teacher_lse, student_kl = per_token
    incoming, student_kl = incoming[:, None], student_kl[:, None]
    hidden = tensors[0].to(incoming.dtype)
    d_hidden = torch.zeros_like(hidden)
    for rows, student, teacher in _logits(tensors, temperature, limit):
        student = _log_probabilities(student, student_lse)
        teacher = _log_probabilities(teacher, teacher_lse)
        if divergence == "kl":
            d_logits = student.exp() - teacher.exp()
        elif divergence == "reverse_kl":
            d_logits = student.exp() * (student - teacher - student_kl)
        else:
            d_logits = student.exp() * (_to_middle(student, teacher)[0] - student_kl) / 2
        d_logits *= incoming
        d_hidden.addmm_(d_logits, tensors[1][rows].to(hidden.dtype))
        d_weight[rows] = d_logits.T @ hidden
    return d_hidden
