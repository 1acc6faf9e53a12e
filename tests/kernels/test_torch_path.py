"""Norm, linear layers, rope, SwiGLU and tied embedding of the torch path against plain twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.tolerances import FACTOR, TOLERANCES
from kernels.truth import Op, assert_as_good_as_torch, outputs_and_gradients
from torch import Tensor
from torch.nn import functional

from marco.kernels.add_rms_norm import add_rms_norm_naive
from marco.kernels.rms_norm import rms_norm_naive
from marco.kernels.rope import rope_naive
from marco.kernels.swiglu import swiglu_naive
from marco.kernels.torch_path import native
from marco.kernels.torch_path.embedding import Tie, embedding
from marco.kernels.torch_path.linear import linears
from marco.kernels.torch_path.norm import add_rms_norm, rms_norm
from marco.kernels.torch_path.rope import rope
from marco.kernels.torch_path.swiglu import swiglu
from marco.kernels.torch_path.types import compute_type

pytestmark = pytest.mark.usefixtures("passes")
EPS = 1e-6
TYPES = [torch.float32, torch.bfloat16]
SHAPES = [(1, 896), (9, 1536), (3, 3584), (2, 8192), (252, 123), (2, 9, 3, 64)]


def leaf(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def turned(x: Tensor) -> Tensor:
    """The same numbers, with the first and the last dimension swapped in memory."""
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def assert_as_good_under_autocast(
    ours: Op, naive: Op, inputs: Sequence[Tensor], *, backward_too: bool = False
) -> None:
    """As assert_as_good_as_torch, both under autocast to bf16; types of outputs may differ."""
    doubled = [
        x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x
        for x in inputs
    ]
    truths = outputs_and_gradients(naive, doubled)

    def cast(op: Op) -> Op:
        def made(*args: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return op(*args)

        return made

    with torch.autocast("cpu", torch.bfloat16, enabled=backward_too):
        mine = outputs_and_gradients(cast(ours), inputs)
        torchs = outputs_and_gradients(cast(naive), inputs)
    for number, (our, theirs, truth) in enumerate(zip(mine, torchs, truths, strict=True)):
        limit = FACTOR * float((theirs.double() - truth).abs().max())
        limit += TOLERANCES[torch.bfloat16] * float(truth.abs().max())
        error = float((our.double() - truth).abs().max())
        assert error <= limit, f"tensor {number}: error {error:.3g}, allowed {limit:.3g}"


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(x, weight, EPS)


def norm_naive(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm_naive(x, weight, EPS)


def add_norm(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm(x, residual, weight, EPS)


def add_norm_naive(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm_naive(x, residual, weight, EPS)


def joined(x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor, w3: Tensor) -> Tensor:
    return linears(x, (w1, w2, w3), (b1, None, None))


def joined_naive(x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor, w3: Tensor) -> Tensor:
    parts = [functional.linear(x, w1, b1), functional.linear(x, w2), functional.linear(x, w3)]
    return torch.cat(parts, -1)


def halves(both: Tensor) -> Tensor:
    return swiglu_naive(*both.chunk(2, -1))


def angles(length: int, width: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Any:
    """Cosines and sines [batch, length, width], as transformers makes them."""
    places = torch.arange(length) + 7 * torch.arange(batch)[:, None]
    half = places[..., None] * 100.0 ** -(torch.arange(width // 2) / (width // 2))
    both = torch.cat([half, half], -1)
    return both.cos().to(dtype), both.sin().to(dtype)


def linear_inputs(tokens: tuple[int, ...], width: int, dtype: torch.dtype) -> list[Tensor]:
    outs = [(7, width), (5, width), (7,), (11, width)]
    scale = 1 / width**0.5
    weights = [(leaf(*s, seed=i + 1) * scale).detach().to(dtype) for i, s in enumerate(outs)]
    return [leaf(*tokens, width, dtype=dtype), *(w.requires_grad_() for w in weights)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weight = leaf(shape[-1], dtype=dtype, seed=1)
    assert_as_good_as_torch(norm, norm_naive, [leaf(*shape, dtype=dtype), weight])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_add_rms_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, residual = leaf(*shape, dtype=dtype), leaf(*shape, dtype=dtype, seed=2)
    inputs = [x, residual, leaf(shape[-1], dtype=dtype, seed=1)]
    assert_as_good_as_torch(add_norm, add_norm_naive, inputs)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("tokens", "width"), [((1,), 896), ((252,), 123), ((2, 3), 1536), ((2, 3, 4), 16)]
)
def test_linears(tokens: tuple[int, ...], width: int, dtype: torch.dtype) -> None:
    assert_as_good_as_torch(joined, joined_naive, linear_inputs(tokens, width, dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_one_linear_with_a_bias(dtype: torch.dtype) -> None:
    inputs = [leaf(*shape, dtype=dtype) for shape in ((252, 123), (57, 123), (57,))]
    assert_as_good_as_torch(
        lambda x, w, b: linears(x, (w,), (b,)), lambda x, w, b: functional.linear(x, w, b), inputs
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 2), (252, 246), (3, 2 * 896), (2, 3, 5, 14)])
def test_swiglu(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert_as_good_as_torch(swiglu, halves, [leaf(*shape, dtype=dtype)])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("batch", "angle_rows"), [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize(("length", "width"), [(1, 64), (37, 6), (5, 128)])
def test_rope(batch: int, angle_rows: int, length: int, width: int, dtype: torch.dtype) -> None:
    q, k = (leaf(batch, length, heads, width, dtype=dtype) for heads in (6, 2))
    inputs = [q, k, *angles(length, width, angle_rows, dtype)]
    assert_as_good_as_torch(rope, rope_naive, inputs)


@pytest.mark.parametrize("dtype", TYPES)
def test_embedding(dtype: torch.dtype) -> None:
    ids = torch.tensor([[3, 3, 0, 12], [1, 3, 12, 12]])
    assert_as_good_as_torch(
        lambda w: embedding(ids, w, Tie()),
        lambda w: functional.embedding(ids, w),
        [leaf(13, 5, dtype=dtype)],
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(rows=st.integers(0, 40), width=st.integers(1, 60), dtype=st.sampled_from(TYPES))
def test_any_shape(rows: int, width: int, dtype: torch.dtype) -> None:
    wide = width + 1  # of one element the norm's gradient is what remains of 1 - 1
    x, weight = leaf(rows, wide, dtype=dtype), leaf(wide, dtype=dtype, seed=1)
    assert_as_good_as_torch(norm, norm_naive, [x, weight])
    assert_as_good_as_torch(add_norm, add_norm_naive, [x, leaf(rows, wide, dtype=dtype), weight])
    assert_as_good_as_torch(joined, joined_naive, linear_inputs((rows,), width, dtype))
    assert_as_good_as_torch(swiglu, halves, [leaf(rows, 2 * width, dtype=dtype)])


def of(*shape: int) -> Tensor:
    return torch.ones(shape)


HEADS = of(2, 5, 4, 8), of(2, 5, 2, 8)


@pytest.mark.parametrize(
    ("op", "inputs", "words"),
    [
        (norm, [of(2, 16), of(3)], r"rms_norm: x \[2, 16\] .* weight is \[3\]"),
        (norm, [of(2, 16), of(64)], r"weight is \[64\]"),
        (norm, [of(2, 16), of(2, 16)], r"weight is \[2, 16\]"),
        (norm, [of(), of()], r"x \[\]"),
        (add_norm, [of(3, 16), of(3, 16), of(1)], r"add_rms_norm: x \[3, 16\] .* \[1\]"),
        (add_norm, [of(3, 16), of(1, 16), of(16)], r"x \[3, 16\] and residual \[1, 16\]"),
        (add_norm, [of(1, 16), of(3, 16), of(16)], r"x \[1, 16\] and residual \[3, 16\]"),
        (add_norm, [of(3, 16), of(16), of(16)], "differ in shape"),
        (swiglu, [of(3, 7)], r"\[3, 7\] should be"),
        (swiglu, [of()], r"\[\] should be"),
        (rope, [*HEADS, of(2, 3, 8), of(2, 3, 8)], r"cos must be \[2 or 1, 5, 8\]"),
        (rope, [*HEADS, of(3, 5, 8), of(3, 5, 8)], r"it is \[3, 5, 8\]"),
        (rope, [*HEADS, of(2, 5, 4), of(2, 5, 4)], r"it is \[2, 5, 4\]"),
        (rope, [*HEADS, of(2, 5, 16), of(2, 5, 16)], r"it is \[2, 5, 16\]"),
        (rope, [*HEADS, of(2, 5, 8), of(1, 3, 8)], r"sin must be .* it is \[1, 3, 8\]"),
        (rope, [of(1, 5, 4, 7), of(1, 5, 2, 7), of(1, 5, 7), of(1, 5, 7)], "even; it is 7"),
        (rope, [of(1, 5, 4, 8), of(1, 5, 2, 6), of(1, 5, 8), of(1, 5, 8)], "heads only"),
        (rope, [of(1, 5, 4, 8), of(1, 4, 2, 8), of(1, 5, 8), of(1, 5, 8)], "heads only"),
    ],
)
def test_shapes_that_do_not_fit(op: Op, inputs: list[Tensor], words: str) -> None:
    """The C++ would read, and write, beyond them."""
    with pytest.raises(ValueError, match=words):
        op(*inputs)


@pytest.mark.parametrize("eps", [1, 0, torch.tensor(0.5), True])
def test_eps_of_other_types(eps: Any) -> None:
    x, weight = leaf(3, 8), leaf(8, seed=1)
    torch.testing.assert_close(rms_norm(x, weight, eps), rms_norm_naive(x, weight, float(eps)))
    made = add_rms_norm(x, x, weight, eps)
    torch.testing.assert_close(made, add_rms_norm_naive(x, x, weight, float(eps)))


def test_rope_with_tables_of_different_rows() -> None:
    q, k = leaf(3, 5, 4, 6), leaf(3, 5, 2, 6, seed=1)
    (cos, sin), (cos_of_one, sin_of_one) = angles(5, 6, 3), angles(5, 6)
    for tables in ((cos, sin_of_one), (cos_of_one, sin)):
        assert_as_good_as_torch(rope, rope_naive, [q, k, *tables])


Case = tuple[Callable[..., Any], list[Tensor]]


def cases(dtype: torch.dtype = torch.float64) -> dict[str, Case]:
    """Small inputs of every op, each with a twin under the same name in `twins`."""
    q, k = leaf(2, 5, 4, 6, dtype=dtype), leaf(2, 5, 2, 6, dtype=dtype, seed=1)
    ids = torch.tensor([[3, 3], [0, 3]])
    x, residual = leaf(2, 3, 8, dtype=dtype), leaf(2, 3, 8, dtype=dtype, seed=1)
    weight = leaf(8, dtype=dtype, seed=2)
    return {
        "norm": (norm, [x, weight]),
        "add norm": (add_norm, [x, residual, weight]),
        "linears": (joined, linear_inputs((2, 3), 8, dtype)),
        "rope": (rope, [q, k, *angles(5, 6, dtype=dtype)]),
        "swiglu": (swiglu, [x]),
        "embedding": (lambda w: embedding(ids, w, Tie()), [leaf(4, 3, dtype=dtype)]),
    }


def twins() -> dict[str, Callable[..., Any]]:
    ids = torch.tensor([[3, 3], [0, 3]])
    return {
        "norm": norm_naive,
        "add norm": add_norm_naive,
        "linears": joined_naive,
        "rope": rope_naive,
        "swiglu": halves,
        "embedding": lambda w: functional.embedding(ids, w),
    }


NAMES = list(twins())


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    op, inputs = cases()[name]
    assert torch.autograd.gradcheck(op, inputs)
    made = op(*inputs)
    expected = twins()[name](*inputs)
    torch.testing.assert_close(made, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_non_contiguous_inputs(name: str, dtype: torch.dtype) -> None:
    """Nor is the incoming gradient contiguous."""
    op, inputs = cases(dtype)[name]

    def through(function: Callable[..., Any]) -> Op:
        def made(*args: Tensor) -> Any:
            y = function(*(turned(x) for x in args))
            parts = (y,) if isinstance(y, Tensor) else y
            return tuple(part.transpose(0, -1) for part in parts)

        return made

    assert not turned(inputs[0]).is_contiguous()
    assert_as_good_as_torch(through(op), through(twins()[name]), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_twice_through_a_retained_graph(name: str) -> None:
    op, inputs = cases()[name]
    wanted = [x for x in inputs if x.requires_grad]
    made = op(*inputs)
    total = sum(y.square().sum() for y in ([made] if isinstance(made, Tensor) else made))
    once = torch.autograd.grad(total, wanted, retain_graph=True)
    twice = torch.autograd.grad(total, wanted)
    for x, y in zip(once, twice, strict=True):
        assert x.count_nonzero() > 0
        assert torch.equal(x, y)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_propagates(name: str, value: float) -> None:
    op, inputs = cases(torch.float32)[name]
    with torch.no_grad():
        inputs[0].view(-1)[1] = value
    pairs = zip(
        outputs_and_gradients(op, inputs),
        outputs_and_gradients(twins()[name], inputs),
        strict=True,
    )
    seen = False
    for ours, theirs in pairs:
        assert torch.equal(ours.isfinite(), theirs.isfinite())
        seen |= not bool(ours.isfinite().all())
    assert seen


@pytest.mark.parametrize("used", [0, 1])
def test_one_output_alone_has_gradients(used: int) -> None:
    for name in ("add norm", "rope"):
        op, inputs = cases()[name]
        assert torch.autograd.gradcheck(lambda *x, op=op: op(*x)[used], inputs)


def test_only_what_needs_a_gradient_gets_one() -> None:
    for frozen in range(5):
        inputs = linear_inputs((3,), 8, torch.float32)
        inputs[frozen].requires_grad_(False)
        joined(*inputs).square().sum().backward()
        assert [x.grad is not None for x in inputs] == [i != frozen for i in range(5)]


@pytest.mark.parametrize("backward_too", [False, True])
@pytest.mark.parametrize("x_type", TYPES)
def test_autocast(x_type: torch.dtype, backward_too: bool) -> None:
    """Weights in fp32; what the op is given is of fp32 or already of bf16."""

    def compare(ours: Op, naive: Op, inputs: Sequence[Tensor]) -> None:
        assert_as_good_under_autocast(ours, naive, inputs, backward_too=backward_too)

    x, residual = leaf(50, 96, dtype=x_type), leaf(50, 96, seed=1)
    weight, out = leaf(96, seed=2), leaf(33, 96, seed=3)
    out.data /= 10
    # A norm is followed by a product, for which autocast rounds it.
    compare(
        lambda x, w, o: functional.linear(norm(x, w), o),
        lambda x, w, o: functional.linear(norm_naive(x, w), o),
        [x, weight, out],
    )

    def then_linear(function: Op) -> Op:
        def made(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor) -> Any:
            y, summed = function(x, residual, weight)
            return functional.linear(y, out), summed

        return made

    compare(then_linear(add_norm), then_linear(add_norm_naive), [x, residual, weight, out])
    compare(joined, joined_naive, [x, *linear_inputs((1,), 96, torch.float32)[1:]])
    compare(swiglu, halves, [x])
    q, k = leaf(2, 9, 4, 16, dtype=x_type), leaf(2, 9, 2, 16, dtype=x_type, seed=1)
    compare(rope, rope_naive, [q, k, *angles(9, 16, dtype=x_type)])


def test_types_under_autocast() -> None:
    x, weight = leaf(4, 8), leaf(8)
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_type(x) == torch.bfloat16
        assert compute_type(x.double()) == torch.float64
        assert norm(x, weight).dtype == torch.bfloat16
        y, summed = add_norm(x.to(torch.bfloat16), x, weight)
        assert (y.dtype, summed.dtype) == (torch.bfloat16, torch.float32)
        assert joined(*linear_inputs((2,), 8, torch.float32)).dtype == torch.bfloat16
    assert compute_type(x) == torch.float32
    assert norm(x, weight).dtype == torch.float32


@pytest.mark.parametrize("made", [lambda op: op, native.on], ids=["plain", "on"])
@pytest.mark.parametrize("name", NAMES)
def test_compiles_whole(name: str, made: Callable[[Op], Op], monkeypatch: Any) -> None:
    """The plain twin takes over where the C++ was asked for."""
    monkeypatch.undo()  # Dynamo cannot trace poisoned memory
    op, inputs = cases(torch.float32)[name]
    compiled = torch.compile(made(op), fullgraph=True, backend="aot_eager")
    found = outputs_and_gradients(compiled, inputs)
    expected = outputs_and_gradients(op, inputs)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)
