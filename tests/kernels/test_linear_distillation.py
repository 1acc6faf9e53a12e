"""Divergence between two LM heads: against its plain twin, float64, and what theory says."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernels.truth import Op, assert_as_good_as_torch
from torch import Tensor

from marco.kernels import linear_distillation as op_module
from marco.kernels.launches import LAUNCHES
from marco.kernels.linear_distillation import linear_distillation, linear_distillation_naive

DIVERGENCES = ("kl", "reverse_kl", "js")
BACKENDS = ("torch", "triton")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def heads(
    tokens: int,
    rows: int,
    student_size: int,
    teacher_size: int,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> list[Tensor]:
    """Two heads with logits of standard deviation 2; the student's tensors want gradients."""
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for size in (student_size, teacher_size):
        tensors.append(torch.randn(tokens, size, generator=generator).to(dtype))
        weight = torch.randn(rows, size, generator=generator) * 2 / math.sqrt(size)
        tensors.append(weight.to(dtype))
    return [x.requires_grad_(number < 2) for number, x in enumerate(tensors)]


def ours_and_naive(backend: str, **options: Any) -> tuple[Op, Op]:
    ours = partial(linear_distillation, backend=backend, **options)  # type: ignore[arg-type]
    return ours, partial(linear_distillation_naive, **options)


def with_gradients(op: Op, tensors: list[Tensor]) -> list[Tensor]:
    value = op(*tensors)
    return [value, *torch.autograd.grad(value.sum(), tensors[:2])]


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(37, 123, 53, 53), (3, 1009, 40, 70)], ids=str)
def test_as_good_as_torch(
    divergence: str, backend: str, dtype: torch.dtype, shape: tuple[int, int, int, int]
) -> None:
    ours, naive = ours_and_naive(backend, divergence=divergence)
    assert_as_good_as_torch(ours, naive, heads(*shape, dtype=dtype))


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES[:2], BACKENDS))
def test_sure_predictions_keep_their_digits(divergence: str, backend: str) -> None:
    ours, naive = ours_and_naive(backend, divergence=divergence, temperature=0.25)
    assert_as_good_as_torch(ours, naive, heads(30, 200, 8, 20))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 131, 2049, 300), torch.bfloat16),
        ((2, 67, 1536, 3584), torch.float32),
        ((252, 507, 123, 9), torch.float32),
        ((1, 1, 1, 1), torch.float32),
    ],
    ids=str,
)
def test_odd_shapes(backend: str, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    ours, naive = ours_and_naive(backend, divergence="js")
    assert_as_good_as_torch(ours, naive, heads(*shape, dtype=dtype))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_slabs_of_several_tiles(
    dtype: torch.dtype, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three slabs of 256 rows, and one of 231: two tiles each in bf16, four in fp32."""
    monkeypatch.setattr(op_module, "SLABS", 4)
    assert op_module._slab(999) == 256
    ours, naive = ours_and_naive(backend, divergence="js")
    assert_as_good_as_torch(ours, naive, heads(3, 999, 20, 30, dtype=dtype))


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_temperature_and_limit(divergence: str, backend: str, dtype: torch.dtype) -> None:
    tensors = heads(5, 300, 24, 40, dtype)
    with torch.no_grad():
        tensors[1][250:] = torch.nan  # Padding is never looked at.
        tensors[3][250:] = torch.nan
    ours, naive = ours_and_naive(backend, divergence=divergence, temperature=2.0, limit=250)
    assert_as_good_as_torch(ours, naive, tensors)
    d_weight = with_gradients(ours, tensors)[2]
    assert d_weight[:250].abs().amax() > 0
    assert torch.equal(d_weight[250:], torch.zeros_like(d_weight[250:]))


@settings(max_examples=15, deadline=None)
@given(
    tokens=st.integers(1, 70),
    rows=st.integers(1, 300),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    divergence=st.sampled_from(DIVERGENCES),
    backend=st.sampled_from(BACKENDS),
    temperature=st.sampled_from((0.5, 1.0, 3.0)),
)
# Of sure predictions, log-sum-exps rounded to the logits' size lost the gradients' last digits.
@example(25, 127, (2, 22), "reverse_kl", "triton", 0.5)
@example(25, 127, (2, 22), "reverse_kl", "torch", 0.5)
def test_any_shape(
    tokens: int,
    rows: int,
    sizes: tuple[int, int],
    divergence: str,
    backend: str,
    temperature: float,
) -> None:
    tensors = heads(tokens, rows, *sizes)
    ours, naive = ours_and_naive(backend, divergence=divergence, temperature=temperature)
    mine, theirs = with_gradients(ours, tensors), with_gradients(naive, tensors)
    for our, their in zip(mine, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-4, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    divergence=st.sampled_from(DIVERGENCES),
    backend=st.sampled_from(BACKENDS),
    scale=st.sampled_from((0.0, 1e-3, 1.0, 30.0)),
)
def test_divergences_are_not_negative(
    seed: int, divergence: str, backend: str, scale: float
) -> None:
    student_hidden, student_weight, teacher_hidden, _ = heads(3, 140, 8, 8, seed=seed)
    value = linear_distillation(
        student_hidden,
        student_weight,
        student_hidden + scale * teacher_hidden,
        student_weight,
        divergence=divergence,  # type: ignore[arg-type]
        backend=backend,  # type: ignore[arg-type]
    )
    assert value.min() >= -1e-5
    if divergence == "js":
        assert value.max() <= math.log(2) + 1e-5
    if scale >= 1:
        assert value.min() > 1e-3


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
def test_identical_heads_do_not_diverge(divergence: str, backend: str) -> None:
    hidden, weight = heads(7, 1009, 33, 33)[:2]
    ours, _ = ours_and_naive(backend, divergence=divergence)
    for x in with_gradients(ours, [hidden, weight, hidden, weight]):
        torch.testing.assert_close(x, torch.zeros_like(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
def test_confident_predictions(divergence: str, backend: str) -> None:
    # Logits are ±40: student and teacher agree on the first token and not on the second.
    hidden = torch.tensor([[40.0, -40.0], [40.0, -40.0]], requires_grad=True)
    teacher_hidden = torch.tensor([[40.0, -40.0], [-40.0, 40.0]])
    weight = torch.eye(2).requires_grad_()
    ours, naive = ours_and_naive(backend, divergence=divergence)
    tensors = [hidden, weight, teacher_hidden, torch.eye(2)]
    value = ours(*tensors)
    apart = math.log(2) if divergence == "js" else 80.0
    torch.testing.assert_close(value.detach(), torch.tensor([0.0, apart]), rtol=1e-6, atol=1e-12)
    assert_as_good_as_torch(ours, naive, tensors)


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
@pytest.mark.parametrize("which", [0, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_token_spoils_itself_alone(
    divergence: str, backend: str, which: int, bad: float
) -> None:
    tensors = heads(4, 140, 8, 8)
    ours, _ = ours_and_naive(backend, divergence=divergence)
    right = with_gradients(ours, tensors)
    with torch.no_grad():
        tensors[which][2, 3] = bad
    value, d_hidden, d_weight = with_gradients(ours, tensors)
    assert value[2].isnan()
    assert d_hidden[2].isnan().all()
    assert d_weight.isnan().all()
    others = torch.tensor([0, 1, 3])
    assert torch.equal(value[others], right[0][others])
    assert torch.equal(d_hidden[others], right[1][others])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_student_rules_out_diverges_infinitely(backend: str) -> None:
    # The first tile's logits are all -inf: the running maximum meets no number there.
    rows = 130
    weight = torch.ones(rows, 1)
    weight[:128] = -torch.inf
    tensors = [torch.ones(2, 1), weight, torch.ones(2, 1), torch.ones(rows, 1)]
    ours, naive = ours_and_naive(backend, divergence="kl")
    assert torch.equal(ours(*tensors), torch.full((2,), torch.inf))
    assert torch.equal(naive(*tensors), torch.full((2,), torch.inf))


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_inputs(backend: str) -> None:
    tensors = heads(9, 150, 24, 40)
    scattered = []
    for number, x in enumerate(tensors):
        apart = x.detach().T.contiguous().T if number % 2 else x.detach().repeat(1, 2)
        apart = apart[:, : x.shape[1]].requires_grad_(x.requires_grad)
        assert not apart.is_contiguous()
        assert torch.equal(apart, x)
        scattered.append(apart)
    ours, _ = ours_and_naive(backend, divergence="js")
    for our, right in zip(
        with_gradients(ours, scattered), with_gradients(ours, tensors), strict=True
    ):
        torch.testing.assert_close(our, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_heads_of_different_types(backend: str) -> None:
    """A teacher in bf16 beside a student in fp32, whose weight is kept in fp16."""
    hidden, weight, teacher_hidden, teacher_weight = heads(5, 140, 24, 40)
    with torch.no_grad():
        weight = weight.half().requires_grad_()
        teacher_hidden, teacher_weight = teacher_hidden.bfloat16(), teacher_weight.bfloat16()
    ours, naive = ours_and_naive(backend)
    value, _, d_weight = with_gradients(ours, [hidden, weight, teacher_hidden, teacher_weight])
    assert (value.dtype, d_weight.dtype) == (torch.float32, torch.float16)
    right = naive(hidden, weight, teacher_hidden.float(), teacher_weight.float())
    torch.testing.assert_close(value, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
def test_no_tokens(divergence: str, backend: str) -> None:
    before = LAUNCHES.copy()
    ours, _ = ours_and_naive(backend, divergence=divergence)
    value, d_hidden, d_weight = with_gradients(ours, heads(0, 50, 8, 6))
    assert (value.shape, value.dtype, d_hidden.shape) == ((0,), torch.float32, (0, 8))
    assert torch.equal(d_weight, torch.zeros(50, 8))
    assert before == LAUNCHES


def test_launches_are_counted() -> None:
    before = LAUNCHES.copy()
    with_gradients(partial(linear_distillation, backend="torch"), heads(2, 300, 8, 8))
    assert before == LAUNCHES
    with_gradients(partial(linear_distillation, backend="triton"), heads(2, 300, 8, 8))
    # Three slabs of at most 128 rows.
    assert dict(LAUNCHES - before) == {
        "linear_distillation_lse_kernel": 2,
        "linear_distillation_fwd_kernel": 1,
        "linear_distillation_bwd_kernel": 3,
        "linear_distillation_hidden_kernel": 3,
    }


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradcheck_in_float64(divergence: str) -> None:
    # More rows than a slab; a gradient check of all elements is quick at hidden size 1.
    tensors = [x.detach().double().requires_grad_(x.requires_grad) for x in heads(2, 131, 1, 3)]
    ours, _ = ours_and_naive("torch", divergence=divergence, temperature=1.5)
    assert ours(*tensors).dtype == torch.float64
    assert torch.autograd.gradcheck(ours, tensors)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_teacher_learns_nothing(backend: str) -> None:
    tensors = [x.detach().requires_grad_() for x in heads(3, 50, 8, 8)]
    ours, _ = ours_and_naive(backend)
    gradients = torch.autograd.grad(ours(*tensors).sum(), tensors, allow_unused=True)
    assert [g is None for g in gradients] == [False, False, True, True]
    assert not ours(*(x.detach() for x in tensors[:2]), *tensors[2:]).requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_rounds_nothing(backend: str) -> None:
    tensors = heads(5, 140, 24, 40)
    ours, _ = ours_and_naive(backend)
    right = with_gradients(ours, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        mine = with_gradients(ours, tensors)
    for our, theirs in zip(mine, right, strict=True):
        assert torch.equal(our, theirs)


def largest_allocation(op: Op, tensors: list[Tensor]) -> int:
    """In bytes. The profiler, unlike a dispatch mode, sees what happens inside a custom op."""
    with torch.profiler.profile(profile_memory=True) as profile:
        with_gradients(op, tensors)
    return max(event.self_cpu_memory_usage for event in profile.events())


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_tensor_of_tokens_by_vocabulary(
    divergence: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, rows = 64, 2048
    monkeypatch.setattr(op_module, "SLAB_ROWS", 64)  # or they would be fewer slabs than usual
    tensors = heads(tokens, rows, 2, 2)
    ours, naive = ours_and_naive(backend, divergence=divergence)
    whole = tokens * rows * 4
    assert largest_allocation(naive, tensors) >= whole
    # A slab of logits, or the weight's gradient.
    assert 0 < largest_allocation(ours, tensors) <= whole / 32


@pytest.mark.parametrize("backend", BACKENDS)
def test_runs_are_equal_to_the_bit(backend: str) -> None:
    ours, _ = ours_and_naive(backend, divergence="js")
    first, second = (with_gradients(ours, heads(9, 300, 16, 16)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize(("divergence", "backend"), product(DIVERGENCES, BACKENDS))
def test_opcheck(divergence: str, backend: str) -> None:
    tensors = heads(3, 140, 8, 6)
    options = (divergence, 2.0, 130, backend)
    torch.library.opcheck(torch.ops.marco.linear_distillation, (*tensors, *options))
    value, *saved = torch.ops.marco.linear_distillation(*tensors, *options)
    arguments = [x.detach() for x in (torch.ones_like(value), *tensors, *saved)]
    torch.library.opcheck(torch.ops.marco.linear_distillation_backward, (*arguments, *options))


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_without_a_break(backend: str) -> None:
    tensors = heads(5, 140, 8, 6)
    ours, _ = ours_and_naive(backend, divergence="js")
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for our, right in zip(
        with_gradients(compiled, tensors), with_gradients(ours, tensors), strict=True
    ):
        assert torch.equal(our, right)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"divergence": "hellinger"}, "divergence must be one of"),
        ({"backend": "cuda"}, "backend must be one of"),
        ({"temperature": 0.0}, "temperature must be finite and above 0, not 0.0"),
        ({"temperature": math.nan}, "temperature must be finite"),
        ({"limit": 0}, "limit must be between 1 and the weights' 50 rows, not 0"),
        ({"limit": 51}, "limit must be between 1"),
        ({"student_hidden": torch.ones(3, 7)}, r"student_hidden must be \[tokens, hidden\]"),
        ({"teacher_hidden": torch.ones(6)}, r"teacher_hidden must be .* not \[6\]"),
        ({"teacher_hidden": torch.ones(2, 6)}, "as many rows of hidden states, not 3 and 2"),
        ({"teacher_weight": torch.ones(49, 6)}, "as many rows of weights, not 50 and 49"),
        ({"student_hidden": torch.ones(3, 8).double(), "backend": "triton"}, "no float64"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    names = ("student_hidden", "student_weight", "teacher_hidden", "teacher_weight")
    arguments = dict(zip(names, heads(3, 50, 8, 6), strict=True))
    with pytest.raises(ValueError, match=message):
        linear_distillation(**(arguments | change))
