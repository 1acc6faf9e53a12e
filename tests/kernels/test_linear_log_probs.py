"""Statistics and log-probabilities of targets, against whole logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernels.linear_cross_entropy_inputs import make
from kernels.test_torch_path import TYPES
from kernels.truth import assert_as_good_as_torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from marco.kernels.linear_cross_entropy import (
    Backend,
    linear_cross_entropy,
    linear_cross_entropy_naive,
    linear_statistics,
)
from marco.kernels.linear_log_probs import linear_log_probs, linear_log_probs_naive
from marco.kernels.torch_path import linear_cross_entropy as torch_path

pytestmark = pytest.mark.usefixtures("passes")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 10 tokens, blocks of 6 or 7, tiles of 48 rows."""
    monkeypatch.setattr(torch_path, "LEAST_TOKENS", 7)
    monkeypatch.setattr(torch_path, "CHUNK_ELEMENTS", 2000)
    monkeypatch.setattr(torch_path, "BLOCK_ELEMENTS", 700)
    monkeypatch.setattr(torch_path, "TILE_ROWS", 48)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("limit", [None, 90])
@pytest.mark.parametrize("dtype", TYPES)
def test_statistics(dtype: torch.dtype, limit: int | None, backend: Backend) -> None:
    hidden, weight, targets = make(50, 101, 32, dtype, limit=90, ignored=5)
    # Triton does not round them to bf16.
    wide = [x.float() if backend == "triton" else x for x in (hidden, weight[:limit])]
    logits = functional.linear(*wide).float()
    targets[1::5] = logits.argmax(1)[1::5]
    log_probs = logits.log_softmax(1)
    counts = targets != -100
    losses, correct, entropy = linear_statistics(
        hidden, weight, targets, limit=limit, backend=backend
    )
    assert not losses.requires_grad
    assert (losses.dtype, correct.dtype, entropy.dtype) == (
        torch.float32,
        torch.bool,
        torch.float32,
    )
    assert torch.equal(correct, (logits.argmax(1) == targets) & counts)
    assert int(correct.sum()) >= 10
    plain = -log_probs.gather(1, targets.clamp(min=0)[:, None]).squeeze(1)
    torch.testing.assert_close(losses, torch.where(counts, plain, 0.0))
    expected = -(log_probs.exp() * log_probs).sum(1)
    torch.testing.assert_close(entropy, torch.where(counts, expected, 0.0))


class Products(TorchDispatchMode):
    """Tokens and rows of every product."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if "mm" in str(func):
            self.sizes.append((args[0].shape[0], args[1].shape[1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("small_chunks")
def test_statistics_read_the_head_once_a_chunk() -> None:
    """Not once for every few tokens that the cache holds the logits of."""
    hidden, weight, targets = make(40, 101, 32)
    with Products() as products:
        linear_statistics(hidden, weight, targets)
    assert torch_path.chunk_tokens(40, 101) == 10
    assert products.sizes == [(10, 48), (10, 48), (10, 5)] * 4


def test_statistics_of_nothing() -> None:
    for tokens in (0, 3):
        made = linear_statistics(*make(tokens, 30, 16, ignored=1))
        assert [x.shape for x in made] == [(tokens,)] * 3
        assert not any(x.any() for x in made)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("dtype", TYPES)
def test_log_probs(dtype: torch.dtype, backend: Backend) -> None:
    hidden, weight, targets = make(24, 101, 32, dtype, limit=90, ignored=5)
    sequences = targets.view(3, 8)
    assert_as_good_as_torch(
        lambda h, w: linear_log_probs(h.view(3, 8, 32), w, sequences, limit=90, backend=backend),
        lambda h, w: linear_log_probs_naive(h.view(3, 8, 32), w, sequences, limit=90),
        [hidden, weight],
    )


def test_the_twin_is_a_log_softmax() -> None:
    hidden, weight, targets = make(24, 101, 32, torch.float64, ignored=5)
    chosen = functional.linear(hidden, weight).log_softmax(-1)
    chosen = chosen.gather(1, targets.clamp(min=0)[:, None]).squeeze(1)
    expected = torch.where(targets != -100, chosen, 0.0).view(3, 8)
    tokens, sums = linear_log_probs_naive(hidden.view(3, 8, 32), weight, targets.view(3, 8))
    torch.testing.assert_close(tokens, expected)
    torch.testing.assert_close(sums, expected.sum(1))


def test_the_twin_takes_all_tokens() -> None:
    hidden, weight, targets = make(6, 30, 16)
    found = linear_cross_entropy_naive(hidden, weight, targets, ignore_index=None, z_loss=1e-3)
    assert torch.equal(found, linear_cross_entropy_naive(hidden, weight, targets, z_loss=1e-3))
    tokens, _ = linear_log_probs_naive(hidden[None], weight, targets[None], ignore_index=None)
    torch.testing.assert_close(tokens[0], (hidden @ weight.T).log_softmax(-1)[range(6), targets])
    targets[2] = -100
    with pytest.raises(IndexError, match="Target -100 is out of bounds"):
        linear_cross_entropy_naive(hidden, weight, targets, ignore_index=None)


def test_shapes_that_do_not_fit() -> None:
    hidden, weight, targets = make(6, 30, 16)
    for shape in ((3, 2), (6,), (1, 6)):
        with pytest.raises(ValueError, match="should be"):
            linear_log_probs(hidden.view(2, 3, 16), weight, targets.view(shape))
    with pytest.raises(ValueError, match="should be"):
        linear_log_probs(hidden, weight, targets)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "trition"}, "torch, triton"),
        ({"label_smoothing": 1.5}, "label_smoothing=1.5"),
        ({"targets": torch.zeros(6, dtype=torch.int32)}, "int64"),
        ({"weight": torch.zeros(0, 16)}, "at least one row"),
    ],
)
def test_arguments_that_do_not_fit(change: dict[str, Any], words: str) -> None:
    hidden, weight, targets = make(6, 30, 16)
    given: dict[str, Any] = {"hidden": hidden, "weight": weight, "targets": targets}
    with pytest.raises(ValueError, match=words):
        linear_cross_entropy(**given | change)


def test_triton_gives_a_target_outside_of_the_head_no_number() -> None:
    hidden, weight, _ = make(4, 50, 16)
    targets = torch.tensor([3, 40, 50, -1])
    losses = linear_cross_entropy(
        hidden, weight, targets, limit=40, ignore_index=None, backend="triton"
    )
    assert losses.isnan().tolist() == [False, True, True, True]
    (found,) = torch.autograd.grad(losses, hidden, torch.ones(4))
    assert found.isnan().all(1).tolist() == [False, True, True, True]
