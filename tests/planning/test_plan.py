"""The plan against published tables, against runs, and against torch's own counters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import FAST, last, train
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from marco.config import RunSettings, bind_all, compose
from marco.errors import ConfigError
from marco.mixing import marco_corpus
from marco.mixing.sources import OTHER_SOURCES
from marco.planning import order as order_module
from marco.planning.cautions import warnings_of
from marco.planning.network import network_of
from marco.planning.options import PlanOptions
from marco.planning.order import served
from marco.planning.plan import plan_of
from marco.planning.sources import cut_share, read_sources, truncated_share
from marco.planning.stages import learning_rates

# Tables 2 and 3: shares of the two stages' tokens, in percent, and how many share each.
TABLES = {
    "english": ((32, 28), 1),
    "chinese": ((17, 15), 1),
    "high": ((30, 26), 8),
    "low": ((9, 15), 19),
    "parallel": ((6, 8), 1),
    "knowledge": ((5, 6), 1),
    "synthetic": ((1, 2), 1),
}
TOKENS = (160e9, 140e9)
PAIRS = ("data=mixture", "data.base.languages=[eng,swh,tha]")


def run_of(*overrides: str) -> RunSettings:
    return bind_all(compose(list(overrides)))


@pytest.fixture(scope="module")
def stages() -> list[dict[str, Any]]:
    return [plan_of(run_of(f"experiment=marco/stage{n}_1_5b"), PlanOptions()) for n in (1, 2)]


def test_both_stages_are_the_published_tables(stages: list[dict[str, Any]]) -> None:
    from marco.mixing.sources import resource_group

    used = marco_corpus().used
    for name, printed in used.items():
        percents, members = TABLES[resource_group(name) or name]
        parts = [stage["languages"][name]["tokens"] for stage in stages]
        for part, percent, tokens in zip(parts, percents, TOKENS, strict=True):
            assert part == pytest.approx(percent / 100 * tokens / members, rel=0.01), name
        # 27 of the rows are printed to a tenth of a billion: 10.55 as 10.6.
        assert abs(sum(parts) - printed) <= 0.05e9 + 1e6, name  # whole steps
    assert len(used) == 29 + len(OTHER_SOURCES)
    for group, (percents, _) in TABLES.items():
        for stage, percent in zip(stages, percents, strict=True):
            assert stage["stages"][0]["shares"][group] == pytest.approx(percent / 100)
    assert sum(stage["stages"][0]["tokens"] for stage in stages) == pytest.approx(300e9, rel=1e-4)


def test_the_published_runs_repeat_nothing_and_fit(stages: list[dict[str, Any]]) -> None:
    for stage, peak in zip(stages, (1e-5, 6e-6), strict=True):
        assert all(one["epochs"] < 1 and one["repeats"] == 0 for one in stage["languages"].values())
        assert stage["memory"]["fits"]
        assert stage["warnings"] == []
        curve = [point["learning_rate"] for point in stage["stages"][0]["learning_rate"]]
        assert max(curve) == pytest.approx(peak, rel=1e-3)
        assert curve[-1] == pytest.approx(0.1 * peak, rel=1e-3)
    json.dumps(stages, allow_nan=False)


@pytest.mark.parametrize(("size", "parameters"), [("7b", 7_615_616_512), ("72b", 72_706_203_648)])
def test_parameters_of_the_published_models(size: str, parameters: int) -> None:
    assert network_of(run_of(f"experiment=marco/stage1_{size}"), 151_646).parameters == parameters


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("mix=temperature", "mix.alpha=0.3", "trainer.precision=bf16-master", "tokens=6000"),
        ("mix=linear", "batch.packing=best_fit", *PAIRS),
        ("mix=natural", "mix.sampling=iid", "batch.packing=best_fit"),
        ("mix.exhausted=redistribute", "mix.max_epochs=0.4"),
        ("mix.exhausted=stop", "mix.max_epochs=0.25"),
    ],
)
def test_a_run_serves_what_was_planned(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    fast = [one for one in FAST if not (one.startswith("data.") and "data=mixture" in overrides)]
    done = train(tmp_path, *fast, "evaluation=none", *overrides)
    assert done.returncode == 0, done.stderr
    summary = json.loads((last(tmp_path) / "summary.json").read_text())
    plan = plan_of(run_of(*fast, "evaluation=none", *overrides), PlanOptions(device="cpu"))
    ledger = summary["ledger"]["sources"]
    assert list(plan["languages"]) == list(ledger)
    for name, one in ledger.items():
        planned = plan["languages"][name]
        assert (planned["tokens"], planned["epochs"]) == (one["tokens"], one["epochs"]), name
        places = one["tokens"] + one["padding"]
        assert planned["fill"] == (one["tokens"] / places if places else 1.0), name
    assert sum(stage["tokens"] for stage in plan["stages"]) == sum(
        one["tokens"] for one in ledger.values()
    )
    assert (
        sum(one["tokens"] + one["padding"] for one in ledger.values())
        == (summary["train"]["tokens"])
    )
    log = (last(tmp_path) / "log.txt").read_text()
    assert f"{plan['parameters']:,} parameters" in log


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_many_sequences_are_multiplied_out(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, names = 999, ("eng", "swh", "tha")
    run = run_of(*FAST, "tokens=1_000_000", "mix=linear", f"batch.packing={packing}")
    length = run.batch.sequence_length
    sources = read_sources(run)
    schedule = run.mix.schedule(sources.sizes, run.tokens, length)
    counted = served(run, schedule, count, sources.opened)
    assert counted.exact
    monkeypatch.setattr(order_module, "SIMULATED", 500)
    fluid = served(run, schedule, count, sources.opened)
    assert not fluid.exact
    if packing == "concat":
        assert fluid.total == count * length
        assert all(abs(fluid.tokens[name] - counted.tokens[name]) < length for name in names)
    else:
        assert sum(fluid.padding.values()) > length
        assert fluid.tokens == pytest.approx(counted.tokens, rel=0.01)
        assert fluid.padding == pytest.approx(counted.padding, rel=0.1)


SMOLLM2 = (  # SmolLM2-135M's shape, as experiment=smollm2_swahili_yoruba trains it
    *("model.hidden_size=576", "model.intermediate_size=1536", "model.num_hidden_layers=30"),
    *("model.num_attention_heads=9", "model.num_key_value_heads=3", "model.vocab_size=49152"),
    *("batch.sequence_length=512", "model.max_position_embeddings=8192"),
)


@pytest.mark.parametrize(
    ("overrides", "vocabulary"),
    [
        (FAST, 512),
        ((*FAST, "model.tie_word_embeddings=false"), 512),
        (("experiment=udhr_tiny",), 1024),
        (SMOLLM2, 49_152),
    ],
    ids=["fast", "untied", "udhr_tiny", "smollm2"],
)
def test_flops_are_what_torch_counts(overrides: tuple[str, ...], vocabulary: int) -> None:
    run = run_of(*overrides)
    network = network_of(run, vocabulary)
    with torch.device("meta"):  # shapes are all that is counted
        model = AutoModelForCausalLM.from_config(network.config, attn_implementation="eager")
        ids = torch.zeros(2, run.batch.sequence_length, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(ids).logits.sum().backward()
    counted = counter.get_total_flops() / ids.numel()
    assert network.flops_per_token == pytest.approx(counted, rel=0.02)


def test_learning_rates_are_those_of_training() -> None:
    run = run_of("schedule=warmup_linear", "schedule.warmup=0.25", "tokens=409600")
    steps = run.tokens // run.batch.tokens
    found = learning_rates(run, steps, 10, 150)
    assert (found[0][0], found[-1][0]) == (10, 149)
    assert {steps // 4} < {step for step, _ in found}
    for step, rate in found:
        assert rate == run.optimizer.lr * run.schedule.factor((step + 0.5) / steps)


def test_fertility_is_against_english_on_the_same_articles() -> None:
    sources = read_sources(run_of("data.languages=[eng,tha]", "tokenizer=qwen2"))
    eng, tha = sources.facts
    assert eng.fertility == 1.0
    assert tha.fertility == pytest.approx((tha.tokens - 26) / (eng.tokens - 26))
    assert tha.fertility > 1.5
    alone = read_sources(run_of("data.languages=[tha]")).facts[0]
    assert alone.fertility is None
    assert alone.tokens_per_byte is not None


def test_documents_that_windows_cut() -> None:
    import numpy as np

    assert cut_share(np.array([4, 4, 8]), 8, "concat") == 0.0
    assert cut_share(np.array([5, 5, 6]), 8, "concat") == pytest.approx(1 / 3)
    assert cut_share(np.array([20]), 8, "concat") == 1.0
    assert cut_share(np.array([5, 5, 6, 9]), 8, "best_fit") == 0.25
    assert truncated_share(np.array([4, 4, 8]), 8, "concat") == 0.0
    assert truncated_share(np.array([5, 5, 6]), 8, "concat") == 2 / 16
    # A round of 20 begins at the start of a window, then in its middle.
    assert truncated_share(np.array([20]), 8, "concat") == (12 + 16) / 2 / 20
    assert truncated_share(np.array([5, 20]), 8, "best_fit") == 12 / 25


def test_every_warning_has_its_cause() -> None:
    run = run_of("optimizer.lr=1e-3")
    options = PlanOptions(base_learning_rate=1e-5)
    quiet = {
        "epochs": 1.0,
        "share": 0.5,
        "fertility": 1.2,
        "tokens_per_character": 0.5,
        "fill": 1.0,
        "truncated": 0.0,
    }
    fits = {"fits": True, "total": 1, "device_memory": 2}

    def said(memory: dict[str, Any] = fits, rate: float | None = None, **one: float) -> list[str]:
        chosen = PlanOptions(base_learning_rate=rate)
        languages = {"eng": quiet, "tha": {**quiet, **one}}
        return warnings_of(run, chosen, [{"languages": languages}], languages, memory)

    assert said() == []
    for name, causes in {
        "more than 4 epochs: tha 4.5": {"epochs": 4.5},
        "less than one sequence a step": {"share": 0.01},
        "fertility above 3": {"fertility": 3.5},
        "more tokens than characters": {"tokens_per_character": 1.5},
        "padding above 10%: tha 20%": {"fill": 0.8},
        "truncation above 10% (tokens in another window": {"truncated": 0.11},
    }.items():
        (found,) = said(**causes)
        assert found.startswith(name)
    (found,) = said(rate=options.base_learning_rate)
    assert "100.0 × base_learning_rate=1e-05" in found
    (found,) = said({"fits": False, "total": 9e9, "device_memory": 8e9})
    assert "9.0 GB do not fit" in found


def test_a_corpus_without_text_needs_a_vocabulary() -> None:
    run = run_of("data=marco_virtual", "evaluation=likelihood")
    with pytest.raises(ConfigError, match="tokenizer=qwen2"):
        plan_of(run, PlanOptions())
    own = run_of("data=marco_virtual", "data.sizes={sw: 1000, parallel: 10}", "tokenizer=qwen2")
    assert own.data.source_names() == ["swh", "parallel"]
    assert own.data.language_codes() == ["swh"]
    for wrong, said in (("{swahilli: 5}", "Swahili"), ("{sw: 0}", "at least 1"), ("{}", "empty")):
        with pytest.raises(ConfigError, match=said):
            run_of("data=marco_virtual", f"data.sizes={wrong}")
    with pytest.raises(ConfigError, match="already"):
        run_of("data=marco_virtual", "data.sizes={sw: 5, swh: 6}")
