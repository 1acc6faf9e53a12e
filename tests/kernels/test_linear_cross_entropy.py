"""The linear cross-entropy of the torch path, against whole logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels.linear_cross_entropy_inputs import EVERYTHING, Inputs, compare, make
from kernels.test_torch_path import TYPES, assert_as_good_under_autocast, turned
from kernels.truth import assert_as_good_as_torch, outputs_and_gradients
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from marco.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_naive,
    linear_statistics,
)
from marco.kernels.torch_path import linear_cross_entropy as torch_path
from marco.kernels.torch_path import native

pytestmark = pytest.mark.usefixtures("passes")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, blocks and tiles, none of them a whole number of times."""
    monkeypatch.setattr(torch_path, "LEAST_TOKENS", 7)
    monkeypatch.setattr(torch_path, "CHUNK_ELEMENTS", 2000)
    monkeypatch.setattr(torch_path, "BLOCK_ELEMENTS", 700)
    monkeypatch.setattr(torch_path, "TILE_ROWS", 48)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("tokens", "rows", "width"),
    [
        (1, 300, 16),
        (252, 507, 123),
        (4, 130, 896),
        (2, 40, 3584),
        (2, 33, 8192),
        (5, 151_936, 16),
    ],
)
def test_losses_and_gradients(tokens: int, rows: int, width: int, dtype: torch.dtype) -> None:
    compare(make(tokens, rows, width, dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_several_chunks(dtype: torch.dtype) -> None:
    """Beside a twin that takes as many tokens at once: a product in bf16 is rounded every time."""
    hidden, weight, targets = make(1100, 1009, 24, dtype)
    size = torch_path.chunk_tokens(1100, 1009)
    assert size == 275

    def plain(*inputs: Tensor) -> Tensor:
        h, w, t = inputs
        pairs = zip(torch.split(h, size), torch.split(t, size), strict=True)
        return torch.cat([linear_cross_entropy_naive(some, w, wanted) for some, wanted in pairs])

    assert_as_good_as_torch(linear_cross_entropy, plain, (hidden, weight, targets))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "options", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING], ids=str
)
def test_options(options: dict[str, Any], dtype: torch.dtype) -> None:
    compare(make(70, 250, 48, dtype, options.get("limit"), ignored=4), **options)


@pytest.mark.usefixtures("small_chunks")
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tokens=st.integers(1, 90),
    rows=st.integers(20, 300),
    width=st.integers(8, 40),
    cut=st.floats(0, 1),
    ignored=st.integers(0, 4),
    smoothing=st.sampled_from([0.0, 0.2]),
    upstream=st.sampled_from([None, 1.0]),
)
def test_any_shape(
    tokens: int,
    rows: int,
    width: int,
    cut: float,
    ignored: int,
    smoothing: float,
    upstream: float | None,
) -> None:
    limit = max(10, round(cut * rows))
    inputs = make(tokens, rows, width, limit=limit, ignored=ignored)
    compare(inputs, limit=limit, label_smoothing=smoothing, z_loss=1e-3, upstream=upstream)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1, "label_smoothing": 0.2, "limit": 60}])
def test_gradcheck(options: dict[str, Any]) -> None:
    hidden, weight, targets = make(16, 70, 3, torch.float64, limit=60, ignored=5)
    assert torch.autograd.gradcheck(
        lambda h, w: linear_cross_entropy(h, w, targets, **options), (hidden, weight)
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_sure_predictions_right_and_wrong(dtype: torch.dtype) -> None:
    """Logits of ±40; where they are right the loss is about 1e-17 and p - 1 nearly 0."""
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    hidden = (40 * torch.eye(16) * signs[:, None]).to(dtype).requires_grad_()
    weight = torch.eye(20, 16).to(dtype).requires_grad_()
    targets = torch.arange(16)
    compare((hidden, weight, targets))
    right = slice(0, None, 2)
    compare((hidden.detach()[right].requires_grad_(), weight, targets[right]))


def test_small_losses_of_large_logits_keep_their_digits() -> None:
    """Logits of about 900, exact in fp32; a rounded log-partition would be off by 3e-5."""
    weight = (900 + torch.arange(50) / 64)[:, None]
    hidden, targets = torch.ones(50, 1), torch.arange(50)
    for smoothing in (0.0, 0.1):
        options = {"label_smoothing": smoothing}
        truth = linear_cross_entropy_naive(hidden.double(), weight.double(), targets, **options)
        found = linear_cross_entropy(hidden, weight, targets, **options)
        torch.testing.assert_close(found.double(), truth, rtol=5e-7, atol=0)


def test_one_row() -> None:
    """The prediction is certain, and only the z-loss has a gradient."""
    compare(make(3, 2, 16, limit=1), limit=1, z_loss=1e-3)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("upstream", [None, 1.0])
def test_non_contiguous_inputs(upstream: float | None) -> None:
    hidden, weight, targets = make(40, 200, 32)
    targets = torch.stack([targets, targets], 1)[:, 0]
    assert not any(x.is_contiguous() for x in (turned(hidden), turned(weight), targets))
    assert_as_good_as_torch(
        lambda h, w, t: linear_cross_entropy(turned(h), turned(w), t, upstream=upstream),
        linear_cross_entropy_naive,
        (hidden, weight, targets),
    )


@pytest.mark.parametrize("upstream", [None, 0.5])
@pytest.mark.parametrize("tokens", [0, 5])
def test_every_target_ignored(tokens: int, upstream: float | None) -> None:
    hidden, weight, targets = make(tokens, 30, 16, ignored=1)
    losses = linear_cross_entropy(hidden, weight, targets, z_loss=1.0, upstream=upstream)
    assert torch.equal(losses, torch.zeros(tokens))
    found = torch.autograd.grad((0.5 * losses).sum(), (hidden, weight))
    assert torch.equal(found[0], torch.zeros(tokens, 16))
    assert torch.equal(found[1], torch.zeros(30, 16))


@pytest.mark.parametrize("upstream", [None, 1.0])
def test_what_is_ignored_costs_nothing(upstream: float | None) -> None:
    hidden, weight, targets = make(12, 30, 16, ignored=3)
    expected = outputs_and_gradients(linear_cross_entropy_naive, (hidden, weight, targets))
    with torch.no_grad():
        hidden[::3] = torch.nan
    losses = linear_cross_entropy(hidden, weight, targets, upstream=upstream)
    torch.testing.assert_close(losses, expected[0])
    found = torch.autograd.grad(losses.sum(), (hidden, weight))
    assert all(x.isfinite().all() for x in found)
    assert torch.count_nonzero(found[0][::3]) == 0
    seen = []

    class Rows(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.ops.aten.mm.out:
                seen.append(args[0].shape[0])
            return func(*args, **(kwargs or {}))

    run = torch_path._run
    with pytest.MonkeyPatch.context() as patch:

        def watched(*args: Any) -> Any:
            with Rows():
                return run(*args)

        patch.setattr(torch_path, "_run", watched)
        linear_cross_entropy(hidden, weight, targets, upstream=upstream)
    assert seen == [8]


def test_another_ignore_index() -> None:
    hidden, weight, targets = make(12, 30, 16)
    targets[::3] = 7
    compare((hidden, weight, targets), ignore_index=7)


@pytest.mark.parametrize("upstream_known", [False, True])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["hidden", "weight", "upstream"])
def test_not_finite_propagates(bad: float, where: str, upstream_known: bool) -> None:
    hidden, weight, targets = make(5, 300, 16)
    upstream = torch.ones(5)
    {"hidden": hidden, "weight": weight, "upstream": upstream}[where].data.view(-1)[3] = bad
    losses = linear_cross_entropy(hidden, weight, targets, upstream=1.0 if upstream_known else None)
    found = torch.autograd.grad(losses, (hidden, weight), upstream)
    naive = linear_cross_entropy_naive(hidden, weight, targets)
    expected = torch.autograd.grad(naive, (hidden, weight), upstream)
    assert torch.equal(losses.isfinite(), naive.isfinite())
    for x, y in zip(found, expected, strict=True):
        assert not x.isfinite().all()
        assert torch.equal(x.isfinite(), y.isfinite())


def test_logits_of_minus_infinity_have_no_probability() -> None:
    hidden, weight, targets = make(5, 100, 16)
    with torch.no_grad():
        hidden[:, 0] = 1
        weight[60:, 0] = -torch.inf
    targets %= 60
    losses = linear_cross_entropy(hidden, weight, targets)
    torch.testing.assert_close(losses, linear_cross_entropy_naive(hidden, weight[:60], targets))
    found = linear_statistics(hidden, weight, targets)
    expected = linear_statistics(hidden, weight[:60], targets)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)
    assert linear_cross_entropy(hidden, weight, targets + 40)[targets >= 20].isposinf().all()


@pytest.mark.parametrize("backward_too", [False, True])
@pytest.mark.parametrize("upstream", [None, 1.0])
@pytest.mark.parametrize("hidden_type", TYPES)
def test_autocast(hidden_type: torch.dtype, upstream: float | None, backward_too: bool) -> None:
    hidden, weight, targets = make(60, 211, 48, ignored=5)
    inputs = (hidden.detach().to(hidden_type).requires_grad_(), weight, targets)
    options = {"z_loss": 1e-3, "label_smoothing": 0.1}
    # Summed, so that a known upstream is right.
    assert_as_good_under_autocast(
        lambda *x: linear_cross_entropy(*x, upstream=upstream, **options).sum() * 1.0,
        lambda *x: linear_cross_entropy_naive(*x, **options).sum() * 1.0,
        inputs,
        backward_too=backward_too,
    )
    assert_as_good_under_autocast(
        lambda *x: linear_cross_entropy(*x, upstream=upstream, **options),
        lambda *x: linear_cross_entropy_naive(*x, **options),
        inputs,
        backward_too=backward_too,
    )


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that an operation makes."""

    size = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for x in made if isinstance(made, tuple | list) else (made,):
            if isinstance(x, Tensor):
                self.size = max(self.size, x.untyped_storage().nbytes() // x.element_size())
        return made


@pytest.mark.parametrize("gradients", [False, True])
def test_no_tensor_of_tokens_by_rows(gradients: bool) -> None:
    """`_run` itself, because a dispatch mode does not look into an op."""
    tokens, rows = 1200, 700
    hidden, weight, targets = (x.detach() for x in make(tokens, rows, 4))
    with Largest() as seen:
        upstream = torch.ones(tokens) if gradients else None
        torch_path._run(hidden, weight, targets, 0.0, 0.1, rows, upstream)
    # No less either, or this test watches the wrong operations.
    assert seen.size == tokens // 4 * rows


@pytest.mark.parametrize("z_loss", [0.0, 1e-3])
def test_the_twin_makes_no_penalty_of_weight_zero(z_loss: float) -> None:
    """Its gradient would be one more tensor of tokens by rows."""
    losses = linear_cross_entropy_naive(*make(5, 30, 16), z_loss=z_loss)
    seen, rest = set(), [losses.grad_fn]
    while rest:
        node = rest.pop()
        seen.add(type(node).__name__)
        rest += [parent for parent, _ in node.next_functions if parent is not None]
    assert "NllLossBackward0" in seen
    assert ("LogsumexpBackward0" in seen) == (z_loss > 0)


@pytest.mark.parametrize(("tokens", "rows"), [(1, 10), (256, 10), (257, 10), (4096, 151_936)])
def test_tokens_of_a_chunk(tokens: int, rows: int) -> None:
    chunk = torch_path.chunk_tokens(tokens, rows)
    assert chunk >= torch_path.LEAST_TOKENS
    assert chunk <= max(torch_path.LEAST_TOKENS, tokens // 4)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("tokens", [0, 5])
@pytest.mark.parametrize("change", [lambda x: x, turned], ids=["dense", "turned"])
def test_opcheck(tokens: int, dtype: torch.dtype, change: Callable[[Tensor], Tensor]) -> None:
    hidden, weight, targets = make(tokens, 70, 16, dtype, limit=60)
    inputs = [change(x.detach()).requires_grad_() for x in (hidden, weight)]
    settings = (1e-3, 0.1, 60)
    torch.library.opcheck(torch.ops.marco.linear_cross_entropy_torch, (*inputs, targets, *settings))
    torch.library.opcheck(
        torch.ops.marco.linear_cross_entropy_torch_backward,
        (torch.ones(tokens), *(x.detach() for x in inputs), targets, *settings),
    )


@pytest.mark.parametrize("made", [lambda op: op, native.on], ids=["plain", "on"])
@pytest.mark.parametrize("ignored", [0, 3])
def test_compiles_whole(ignored: int, made: Callable[[Any], Any]) -> None:
    """Which tokens count is known at run time only, and Dynamo wants to be told that it may be."""
    hidden, weight, targets = make(12, 70, 16, ignored=ignored)

    def loss(*inputs: Tensor) -> Tensor:
        return linear_cross_entropy(*inputs, z_loss=1e-3).mean()

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(made(loss), fullgraph=True, backend="aot_eager")
        found = torch.autograd.grad(compiled(hidden, weight, targets), (hidden, weight))
    expected = torch.autograd.grad(loss(hidden, weight, targets), (hidden, weight))
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, w, t: (h, w[:, 1:], t), "16 wide, the head 15"),
        (lambda h, w, t: (h[0], w, t), "should be"),
        (lambda h, w, t: (h, w[0], t), "should be"),
        (lambda h, w, t: (h, w, t[1:]), "should be"),
        (lambda h, w, t: (h, w[:0], t), r"\(0, 16\) should have at least one row"),
        (lambda h, w, t: (h, w, t.int()), "torch.int32; they should be int64"),
        (lambda h, w, t: (h, w, t.short()), "torch.int16; they should be int64"),
        (lambda h, w, t: (h, w, t.to(torch.uint8)), "torch.uint8; they should be int64"),
        (lambda h, w, t: (h, w, t.float()), "torch.float32; they should be int64"),
    ],
)
def test_what_does_not_fit(change: Callable[..., Inputs], words: str) -> None:
    inputs = change(*make(5, 70, 16))
    ops = (linear_cross_entropy, partial(linear_cross_entropy, upstream=1.0), linear_statistics)
    for op in ops:
        with pytest.raises(ValueError, match=words):
            op(*inputs)


@pytest.mark.parametrize("limit", [0, 71])
def test_limit_outside_the_rows(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit={limit}"):
        linear_cross_entropy(*make(5, 70, 16), limit=limit)


@pytest.mark.parametrize("target", [-1, 30])
def test_a_target_outside_the_rows(target: int) -> None:
    hidden, weight, targets = make(5, 30, 8)
    targets[3] = target
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        linear_cross_entropy(hidden, weight, targets)


def test_filtered_gradients_need_triton() -> None:
    with pytest.raises(ValueError, match="backend='triton'"):
        linear_cross_entropy(*make(5, 70, 16), filter_gradients=True)
