"""The Triton linear cross-entropy against its naive twin, under Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from marco.kernels import linear_cross_entropy_triton as op
from marco.kernels.launches import LAUNCHES
from marco.kernels.linear_cross_entropy import linear_cross_entropy_naive
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton

TYPES = (torch.float32, torch.bfloat16, torch.float16)
EVERYTHING: dict[str, Any] = {"z_loss": 1e-2, "label_smoothing": 0.1, "limit": 200}


def make(
    tokens: int, rows: int, width: int, dtype: torch.dtype = torch.float32, limit: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens + rows + width)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype)
    weight = (torch.randn(rows, width, generator=generator) / width**0.5).to(dtype)
    targets = torch.randint(limit or rows, (tokens,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def compare(inputs: tuple[Tensor, Tensor, Tensor], **options: Any) -> None:
    """Incoming gradients are random, so they differ by token."""
    assert_as_good_as_torch(
        lambda *x: linear_cross_entropy_triton(*x, **options),
        lambda *x: linear_cross_entropy_naive(*x, **options),
        inputs,
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("tokens", "rows", "width"),
    [(1, 300, 16), (252, 507, 123), (3, 1009, 40), (4, 130, 896), (3, 70, 1536), (2, 40, 3584)],
)
def test_losses_and_gradients(tokens: int, rows: int, width: int, dtype: torch.dtype) -> None:
    compare(make(tokens, rows, width, dtype))


def test_widest_hidden() -> None:
    compare(make(2, 33, 8192, torch.bfloat16))


def test_vocabulary_of_qwen2(monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter takes its time a tile, however large.
    tile = {"num_warps": 8, "num_stages": 1}
    logits = [{"tile_t": 16, "tile_v": 1024, "tile_h": 16, **tile}]
    products = [{"tile_m": 512, "tile_n": 16, "tile_k": 512, **tile}]
    monkeypatch.setattr("marco.kernels.spaces.logits", lambda op, x: logits)
    monkeypatch.setattr("marco.kernels.spaces.products", lambda op, x: products)
    compare(make(5, 151_936, 16, torch.float16), limit=151_935)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "options", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING], ids=str
)
def test_options(options: dict[str, Any], dtype: torch.dtype) -> None:
    inputs = make(70, 250, 48, dtype, options.get("limit"))
    compare(inputs, **options)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tokens=st.integers(8, 150),
    rows=st.integers(20, 300),
    width=st.integers(8, 70),
    cut=st.floats(0, 1),
    smoothing=st.sampled_from([0.0, 0.2]),
)
def test_any_shape(tokens: int, rows: int, width: int, cut: float, smoothing: float) -> None:
    limit = max(10, round(cut * rows))
    inputs = make(tokens, rows, width, limit=limit)
    compare(inputs, limit=limit, label_smoothing=smoothing, z_loss=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sure_predictions_right_and_wrong(dtype: torch.dtype) -> None:
    """Logits of ±40; where they are right the loss is about 1e-17 and p - 1 nearly 0."""
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    hidden = (40 * torch.eye(16) * signs[:, None]).to(dtype).requires_grad_()
    weight = torch.eye(20, 16).to(dtype).requires_grad_()
    compare((hidden, weight, torch.arange(16)))
    right = slice(0, None, 2)
    sure = (hidden.detach()[right].requires_grad_(), weight, torch.arange(16)[right])
    compare(sure)


def test_one_row() -> None:
    """The prediction is certain, and only the z-loss has a gradient."""
    compare(make(3, 2, 16, limit=1), limit=1, z_loss=1e-3)


def test_non_contiguous_inputs() -> None:
    hidden, weight, targets = make(40, 200, 32)
    ours: Callable[..., Tensor] = linear_cross_entropy_triton
    upstream = torch.linspace(-1, 1, 40)
    expected = torch.autograd.grad(ours(hidden, weight, targets), (hidden, weight), upstream)
    losses = ours(hidden.t().contiguous().t(), weight.t().contiguous().t(), targets.repeat(2)[::2])
    assert losses.shape == (40,)
    strided = torch.stack([targets, targets], 1)[:, 0]
    inputs = [x.detach().t().contiguous().t().requires_grad_() for x in (hidden, weight)]
    assert not any(x.is_contiguous() for x in (*inputs, strided))
    wide = torch.stack([upstream, upstream], 1)[:, 0]
    found = torch.autograd.grad(ours(*inputs, strided), inputs, wide)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_statistics() -> None:
    hidden, weight, _ = make(40, 1009, 32)
    # Logits that occur twice: the target is the most probable row only if it is the first of them.
    weight = weight.detach().clone()
    weight[900:950] = weight[100:150]
    weight.requires_grad_()
    logits = (hidden @ weight.t()).detach().double()[:, :1000]
    best = logits.argmax(1)
    targets = torch.where(torch.arange(40) % 3 == 0, best, (best + 800) % 1000)
    losses, correct, entropy = linear_cross_entropy_triton(
        hidden, weight, targets, limit=1000, statistics=True
    )
    plain = linear_cross_entropy_triton(hidden, weight, targets, limit=1000)
    assert torch.equal(losses, plain)
    assert torch.equal(correct, targets == best)
    assert int(correct.sum()) == 14
    p = logits.softmax(1)
    torch.testing.assert_close(entropy.double(), -(p * p.log()).sum(1), rtol=1e-6, atol=1e-6)
    assert losses.requires_grad
    assert not entropy.requires_grad
    assert not correct.requires_grad


@pytest.mark.parametrize("dtype", TYPES)
def test_statistics_of_a_sure_prediction(dtype: torch.dtype) -> None:
    hidden, weight = (40 * torch.eye(4)).to(dtype), torch.eye(300, 4).to(dtype)
    targets = torch.tensor([0, 1, 2, 0])
    _, correct, entropy = linear_cross_entropy_triton(hidden, weight, targets, statistics=True)
    assert correct.tolist() == [True, True, True, False]
    assert float(entropy.abs().max()) < 1e-12


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["hidden", "weight", "upstream"])
@pytest.mark.parametrize("filter_gradients", [False, True])
def test_not_finite_propagates(bad: float, where: str, filter_gradients: bool) -> None:
    hidden, weight, targets = make(5, 300, 16)
    upstream = torch.ones(5)
    {"hidden": hidden, "weight": weight, "upstream": upstream}[where].data.view(-1)[3] = bad
    losses = linear_cross_entropy_triton(hidden, weight, targets, filter_gradients=filter_gradients)
    found = torch.autograd.grad(losses, (hidden, weight), upstream)
    naive = linear_cross_entropy_naive(hidden, weight, targets)
    expected = torch.autograd.grad(naive, (hidden, weight), upstream)
    assert torch.equal(losses.isfinite(), naive.isfinite())
    for x, y in zip(found, expected, strict=True):
        assert not y.isfinite().all()
        # The filter leaves out rows of which nothing is known but that they are small.
        assert torch.equal(x.isfinite(), y.isfinite()) or filter_gradients
        assert not x.isfinite().all()


def test_logits_of_minus_infinity_have_no_probability() -> None:
    """A whole part of the vocabulary may be impossible: 128 rows here are."""
    hidden, weight, targets = make(5, 400, 16)
    with torch.no_grad():
        hidden[:, 0] = 1
        weight[128:256, 0] = -torch.inf
    targets %= 100
    losses, _, entropy = linear_cross_entropy_triton(hidden, weight, targets, statistics=True)
    expected = linear_cross_entropy_naive(hidden, torch.cat([weight[:128], weight[256:]]), targets)
    torch.testing.assert_close(losses, expected)
    assert entropy.isfinite().all()


@pytest.mark.parametrize("dtype", TYPES)
def test_filtered_gradients_are_near(dtype: torch.dtype) -> None:
    """Of 700 rows the first 10 hold nearly all probability: whole tiles are filtered."""
    hidden, weight, targets = make(140, 700, 16, dtype)
    with torch.no_grad():
        hidden[:, 0] = 3
        weight[:10, 0] = 5
    targets %= 20
    upstream = torch.linspace(0.5, 1.5, 140)
    exact, near = (
        torch.autograd.grad(
            linear_cross_entropy_triton(hidden, weight, targets, filter_gradients=on),
            (hidden, weight),
            upstream,
        )
        for on in (False, True)
    )
    for x, y in zip(exact, near, strict=True):
        assert x.dtype == y.dtype
        assert not torch.equal(x, y)
        error = (x.double() - y.double()).abs().max()
        assert float(error) < 0.02 * float(x.abs().max())
    assert torch.count_nonzero(near[1][20:]) == 0
    assert torch.count_nonzero(exact[1][20:]) > 0


def test_fp16_keeps_the_gradients_of_a_mean() -> None:
    """Entries of the logits' gradient are 2e-8 here: fp16 would take them for zero."""
    hidden, weight, targets = make(4, 3000, 16, torch.float16)
    # The sum of those entries over the rows: nearly -upstream if all but the target's are lost.
    weight.data[:, 0] = 1
    small, large = (
        torch.autograd.grad(
            linear_cross_entropy_triton(hidden, weight, targets), hidden, upstream * torch.ones(4)
        )[0].float()
        for upstream in (2.0**-14, 1.0)
    )
    torch.testing.assert_close(small * 2**14, large, rtol=1e-2, atol=1e-3)


def test_two_runs_give_the_same_bits() -> None:
    def run() -> list[Tensor]:
        hidden, weight, targets = make(70, 700, 48, torch.bfloat16)
        losses = linear_cross_entropy_triton(hidden, weight, targets)
        return [losses, *torch.autograd.grad(losses.sum(), (hidden, weight))]

    assert all(torch.equal(x, y) for x, y in zip(run(), run(), strict=True))


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that an operation makes."""

    size = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for x in made if isinstance(made, tuple | list) else (made,):
            if isinstance(x, Tensor):
                self.size = max(self.size, x.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("filter_gradients", [False, True])
def test_no_tensor_of_tokens_by_rows(filter_gradients: bool) -> None:
    """The functions behind the ops, because a dispatch mode does not look into an op."""
    tokens, rows, width = 256, 6144, 1
    inputs = [x.detach() for x in make(tokens, rows, width, torch.float16)]
    options = (0.0, 0.0, rows, filter_gradients)
    with Largest() as seen:
        made = op._linear_cross_entropy._init_fn(*inputs, *options, True, None)
        forward = seen.size
        op._linear_cross_entropy_bwd._init_fn(
            torch.ones(tokens), *inputs, *made[3:], *options, None, True, True
        )
    # No less either, or this test watches the wrong operations.
    assert forward == tokens * 24 * 4
    assert seen.size == tokens * rows // 48 * 2


@pytest.mark.parametrize(
    ("need", "products"), [((True, False), 3), ((False, True), 0), ((True, True), 3)]
)
def test_launches(need: tuple[bool, bool], products: int) -> None:
    hidden, weight, targets = make(5, 384, 16)
    for x, needed in zip((hidden, weight), need, strict=True):
        x.requires_grad_(needed)
    LAUNCHES.clear()
    losses = linear_cross_entropy_triton(hidden, weight, targets)
    assert LAUNCHES == {"linear_cross_entropy_fwd_kernel": 1}
    losses.sum().backward()
    assert LAUNCHES["linear_cross_entropy_bwd_kernel"] == 3
    assert LAUNCHES["linear_cross_entropy_product_kernel"] == products
    assert (hidden.grad is not None, weight.grad is not None) == need


@pytest.mark.parametrize("statistics", [False, True])
def test_no_tokens(statistics: bool) -> None:
    hidden, weight, targets = make(0, 30, 16)
    LAUNCHES.clear()
    made = linear_cross_entropy_triton(hidden, weight, targets, statistics=statistics)
    for x in made if isinstance(made, tuple) else (made,):
        assert x.shape == (0,)
    losses = made[0] if isinstance(made, tuple) else made
    found = torch.autograd.grad(losses.sum(), (hidden, weight))
    assert found[0].shape == (0, 16)
    assert torch.equal(found[1], torch.zeros(30, 16))
    assert not LAUNCHES


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize(("tokens", "ignore_index"), [(0, None), (5, None), (5, -100)])
def test_opcheck(tokens: int, statistics: bool, ignore_index: int | None) -> None:
    hidden, weight, targets = make(tokens, 70, 16, limit=60)
    forward = torch.ops.marco.linear_cross_entropy_triton
    options = (1e-3, 0.1, 60, False, statistics, ignore_index)
    torch.library.opcheck(forward, (hidden, weight, targets, *options))
    *_, maximum, log_sum = forward(hidden, weight, targets, *options)
    saved = [x.detach() for x in (torch.ones(tokens), hidden, weight)]
    saved += [targets, maximum.detach(), log_sum.detach()]
    for need in ((True, True), (False, True), (True, False)):
        torch.library.opcheck(
            torch.ops.marco.linear_cross_entropy_triton_bwd,
            (*saved, 1e-3, 0.1, 60, statistics, ignore_index, *need),
        )


def test_compiles_whole() -> None:
    hidden, weight, targets = make(5, 70, 16)

    def loss(*inputs: Tensor) -> Tensor:
        return linear_cross_entropy_triton(*inputs, z_loss=1e-3).mean()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(hidden, weight, targets), (hidden, weight))
    found = torch.autograd.grad(compiled(hidden, weight, targets), (hidden, weight))
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, w, t: (h, w[:, 1:], t), "should be"),
        (lambda h, w, t: (h[0], w, t), "should be"),
        (lambda h, w, t: (h, w, t[1:]), "one for each"),
        (lambda h, w, t: (h, w, t.int()), "int64"),
        (lambda h, w, t: (h, w.half(), t), "float16"),
        (lambda h, w, t: (h.double(), w.double(), t), "float64"),
    ],
)
def test_what_does_not_fit(
    change: Callable[..., tuple[Tensor, Tensor, Tensor]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        linear_cross_entropy_triton(*change(*make(5, 70, 16)))


@pytest.mark.parametrize("limit", [0, 71])
def test_limit_outside_the_rows(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit={limit}"):
        linear_cross_entropy_triton(*make(5, 70, 16), limit=limit)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_label_smoothing_outside_its_range(smoothing: float) -> None:
    with pytest.raises(ValueError, match=f"label_smoothing={smoothing} should be between 0 and 1"):
        linear_cross_entropy_triton(*make(5, 70, 16), label_smoothing=smoothing)
