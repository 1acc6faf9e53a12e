"""The same numbers as lm-eval's own model, of every kind of request, model and batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from lm_eval.api.instance import Instance

from marco.data.udhr import Udhr

KINDS = ("qwen2", "qwen2-tied", "qwen3", "qwen2-fused", "qwen3-fused")
TOLERANCE = 1e-4
TEXTS = [
    document.text
    for documents in Udhr(languages=["eng", "swh", "cmn"]).load().held_out.values()
    for document in documents[:4]
]


def asked(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(kind, {}, each, number, ("t", number, 1)) for number, each in enumerate(arguments)
    ]


def choices() -> list[tuple[str, str]]:
    shots = "\n\n".join(f"Q: {text[:60]}\nA: {text[60:70]}" for text in TEXTS[:3])
    found = []
    for number, text in enumerate(TEXTS):
        context = f"{shots}\n\nQ: {text[: 20 + 9 * number]}\nA:"
        found += [(context, f" {other[: 4 + 5 * number]}") for other in TEXTS[:4]]
    return [*found, ("", "Haki"), ("Kila mtu ", "ana haki"), ("人人", "生而自由"), found[3],
            ("A", " a"), ("A", " b"), (TEXTS[0] * 3, " " + TEXTS[1])]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_loglikelihood(both: Callable[..., Any], kind: str, batch_size: int) -> None:
    ours, theirs = both(kind, batch_size, max_tokens=64 * batch_size)
    requests = asked("loglikelihood", choices())
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    found = ours.loglikelihood(requests)
    assert np.allclose([x for x, _ in found], [x for x, _ in expected], rtol=0, atol=TOLERANCE)
    assert [same for _, same in found] == [same for _, same in expected]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rolling(both: Callable[..., Any], kind: str, batch_size: int) -> None:
    # short: lm-eval adds up in fp32, which near 3,000 nats has no four digits after the point
    ours, theirs = both(kind, batch_size, max_length=16, max_tokens=64 * batch_size)
    texts = [text[: 12 + 8 * number] for number, text in enumerate(TEXTS)]
    requests = asked("loglikelihood_rolling", [(text,) for text in [*texts, "a"]])
    expected = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert np.allclose(ours.loglikelihood_rolling(requests), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_generation(both: Callable[..., Any], kind: str, batch_size: int) -> None:
    ours, theirs = both(kind, batch_size)
    short = {"until": ["\n"], "max_gen_toks": 12}
    longer = {"until": ["a", "\n\n"], "max_gen_toks": 24}
    requests = asked(
        "generate_until",
        [(text[: 10 + 7 * n], short if n % 2 else longer) for n, text in enumerate(TEXTS)],
    )
    assert ours.generate_until(requests) == theirs.generate_until(requests, disable_tqdm=True)


def test_nothing_depends_on_the_neighbours(both: Callable[..., Any]) -> None:
    ours, _ = both("qwen2", max_tokens=300)
    requests = asked("loglikelihood", choices())
    together = ours.loglikelihood(requests)
    alone = [ours.loglikelihood([request])[0] for request in requests]
    assert np.allclose([x for x, _ in together], [x for x, _ in alone], rtol=0, atol=TOLERANCE)


def test_ids_beyond_the_tokenizer_get_nothing(both: Callable[..., Any], tokenizer: Any) -> None:
    limited, _ = both("qwen2", vocabulary_limit=len(tokenizer))
    whole, _ = both("qwen2")
    requests = asked("loglikelihood", choices())
    pairs = zip(limited.loglikelihood(requests), whole.loglikelihood(requests), strict=True)
    assert all(less > more for (less, _), (more, _) in pairs)


def test_model_is_left_as_it_was(both: Callable[..., Any]) -> None:
    ours, _ = both("qwen2")
    network = ours.network
    network.train()
    before = network.config.to_dict(), network.config._attn_implementation
    ours.loglikelihood(asked("loglikelihood", choices()[:3]))
    assert (network.config.to_dict(), network.config._attn_implementation) == before
    assert all(module.training for module in network.modules())
