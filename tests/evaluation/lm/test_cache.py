"""Nothing is asked twice: across interruptions, torn lines, full disks; never for another model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from marco.evaluation.lm.cache import RequestCache, model_hash
from marco.evaluation.lm.model import MarcoLM

PAIRS = [(f"Nambari {number} ni", f" {word}") for number in range(9) for word in ("mti", "maji")]


def asked(kind: str, arguments: list[Any]) -> list[Instance]:
    return [Instance(kind, {}, each, 0, ("t", n, 1)) for n, each in enumerate(arguments)]


REQUESTS = {
    "loglikelihood": asked("loglikelihood", PAIRS),
    "loglikelihood_rolling": asked("loglikelihood_rolling", [(text,) for text, _ in PAIRS]),
    "generate_until": asked(
        "generate_until", [(text, {"until": ["\n"], "max_gen_toks": 3}) for text, _ in PAIRS[::2]]
    ),
}


@pytest.fixture
def lm(make_network: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Callable[..., MarcoLM]:
    network = make_network("qwen2")

    def make(**more: Any) -> MarcoLM:
        cache = RequestCache(tmp_path / "deep" / "cache.jsonl", model_hash(network))
        return MarcoLM(network, tokenizer, cache=cache, **more)

    return make


@pytest.mark.parametrize("kind", REQUESTS)
def test_second_time_without_the_model(lm: Callable[..., MarcoLM], kind: str) -> None:
    first = getattr(lm(), kind)(REQUESTS[kind])
    again = lm()
    again.network = None  # type: ignore[assignment]
    assert getattr(again, kind)(REQUESTS[kind]) == first


@pytest.mark.parametrize("kind", REQUESTS)
def test_interrupted(lm: Callable[..., MarcoLM], kind: str) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= total // 2:
            raise StopError

    requests = REQUESTS[kind]
    with pytest.raises(StopError):
        getattr(lm(max_tokens=16, progress=stop), kind)(requests)
    resumed = lm()
    found = getattr(resumed, kind)(requests)
    assert resumed._cache is not None
    assert len(requests) // 2 <= resumed._cache.hits
    if kind != "generate_until":  # these end together
        assert resumed._cache.hits < len(requests)
    fresh = getattr(MarcoLM(resumed.network, resumed.tokenizer), kind)(requests)
    if kind == "loglikelihood":
        assert [same for _, same in found] == [same for _, same in fresh]
        found, fresh = [x for x, _ in found], [x for x, _ in fresh]
    assert found == (fresh if kind == "generate_until" else pytest.approx(fresh, abs=1e-4))


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    cache = RequestCache(path, "m")
    cache.put("k", "a", [1.5, True])
    cache.put("k", "b", "text")
    path.write_bytes(path.read_bytes()[:-4])
    resumed = RequestCache(path, "m")
    assert (resumed.get("k", "a"), resumed.get("k", "b")) == ([1.5, True], None)
    resumed.put("k", "c", 3.0)
    last = RequestCache(path, "m")
    assert [last.get("k", name) for name in "abc"] == [[1.5, True], None, 3.0]


def test_of_one_model_and_kind(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "cache.jsonl", "one")
    cache.put("k", "a", 1.0)
    assert RequestCache(tmp_path / "cache.jsonl", "other").get("k", "a") is None
    assert cache.get("another", "a") is None


def test_ranks_have_files_of_their_own_and_know_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    first, second = (RequestCache(path, "model", rank) for rank in range(2))
    first.put("kind", "a", 1)
    second.put("kind", "b", 2)
    second.learn("kind", "c", 3)
    assert first.get("kind", "b") is None
    assert second.get("kind", "c") == 3
    for rank in range(3):  # another number of ranks
        again = RequestCache(path, "model", rank)
        assert [again.get("kind", each) for each in "abc"] == [1, 2, None]


def test_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = RequestCache(tmp_path / "file" / "cache.jsonl", "m")
    cache.put("k", "a", 1.0)
    cache.put("k", "b", 2.0)
    assert cache.get("k", "b") == 2.0
    assert caplog.text.count("are not kept from here on") == 1


def test_sampled_text_is_drawn_anew(lm: Callable[..., MarcoLM]) -> None:
    how = {"until": ["\n"], "max_gen_toks": 3, "do_sample": True, "temperature": 1.0}
    model = lm()
    model.generate_until(asked("generate_until", [("Haki", how)]))
    assert model._cache is not None
    assert model._cache.get("generate_until", ("Haki", how)) is None


def test_hash_knows_every_weight(make_network: Callable[..., Any]) -> None:
    network = make_network("qwen2")
    before = model_hash(network)
    assert before == model_hash(make_network("qwen2"))
    assert before != model_hash(network, "another tokenizer")
    with torch.no_grad():
        network.model.norm.weight[3] += 1e-3
    assert model_hash(network) != before
