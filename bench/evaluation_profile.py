"""Where the scorer's time goes: each second counts for the innermost of the functions below."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from marco.evaluation.lm import generate, model, scores
from marco.evaluation.lm.encode import Encoder
from marco.evaluation.lm.generate_qwen import QwenDecoder
from marco.models.branches import Branches

PLACES: dict[str, list[tuple[Any, str]]] = {
    "tokenising": [(Encoder, "texts")],
    "rows laid out": [(scores, "plan")],
    "layers, attention apart": [(scores, "_hidden")],
    "attention": [(Branches, "attend")],
    "head": [(scores, "log_probabilities")],
    "weights ordered for generation": [(QwenDecoder, "__init__")],
    "prompts": [(QwenDecoder, "add")],
    "steps": [(QwenDecoder, "step")],
    "tokens chosen, stop strings looked for": [(generate, "_take")],
    "tokens to text": [(model, "text_of")],
}


def profiled(run: Callable[[], Any]) -> list[tuple[str, float, float]]:
    """Run once: (what, its seconds, their share), what took no time left out."""
    seconds = dict.fromkeys((*PLACES, "other"), 0.0)
    stack = ["other"]
    last = time.perf_counter()

    def turn() -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stack[-1]] += now - last
        last = now

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **kwargs: Any) -> Any:
            turn()
            stack.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                turn()
                stack.pop()

        return made

    with _replaced(timed):
        run()
    turn()
    total = sum(seconds.values())
    return [(name, value, value / total) for name, value in seconds.items() if value > 0]


@contextmanager
def _replaced(timed: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    kept = [(owner, key, getattr(owner, key)) for some in PLACES.values() for owner, key in some]
    try:
        for name, some in PLACES.items():
            for owner, key in some:
                setattr(owner, key, timed(name, getattr(owner, key)))
        yield
    finally:
        for owner, key, function in kept:
            setattr(owner, key, function)
