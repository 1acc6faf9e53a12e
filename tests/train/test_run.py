"""A whole run, and what it leaves in its folder."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from support import FAST, last, losses, metrics, train

from marco.data.ledger import FIELDS

CODES = ["eng", "swh", "tha"]


def test_summary_has_the_documented_shape(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary) == {"macro", "languages", "tasks", "train", "ledger"}
    assert set(summary["macro"]["bits_per_byte"]) == {"before", "after", "reference_xz"}
    assert list(summary["languages"]) == CODES
    for language in summary["languages"].values():
        assert set(language["bits_per_byte"]) == {"before", "after", "reference_xz"}
        assert language["bits_per_byte"]["after"] < language["bits_per_byte"]["before"]
        assert language["nats_per_article"]["after"] < language["nats_per_article"]["before"]
    assert set(summary["train"]) == {
        "tokens",
        "seconds",
        "tokens_per_second",
        "peak_memory_bytes",
    }
    after = [entry["bits_per_byte"]["after"] for entry in summary["languages"].values()]
    assert summary["macro"]["bits_per_byte"]["after"] == pytest.approx(sum(after) / 3)
    assert sum(entry["tokens"] for entry in summary["languages"].values()) == 10240
    assert summary["train"]["tokens"] == 10240
    for kind in ("sources", "languages"):
        assert list(summary["ledger"][kind]) == CODES
        for code, counts in summary["ledger"][kind].items():
            assert set(counts) == {*FIELDS, "size", "epochs"}
            assert counts["tokens"] == summary["languages"][code]["tokens"]
    assert summary["train"]["peak_memory_bytes"] > 1e8


def test_folder_holds_everything(finished: Path) -> None:
    for name in (
        "config.yaml",
        "overrides.txt",
        "log.txt",
        "metrics.jsonl",
        "evaluations.jsonl",
        "evaluations/step-00000000/results.parquet",
        "evaluations/step-00000000/items.parquet",
        "evaluations/step-00000000/aggregates.json",
        "summary.json",
        "plots/loss_per_language.png",
        "plots/heatmap.png",
        "tokenizer/tokenizer.json",
        "checkpoints/last/manifest.json",
    ):
        assert (finished / name).stat().st_size > 0, name
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["tokens"] == 10240
    assert "Evaluation after 0 tokens" in (finished / "log.txt").read_text()


def test_every_step_was_logged_over_tokens(finished: Path) -> None:
    lines = [line for line in metrics(finished) if "train/loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert [line["tokens"] for line in lines] == [512 * step for step in range(1, 21)]
    for line in lines:
        assert 0 < line["train/loss"] < 10
        assert line["train/learning_rate"] > 0
        assert sum(line[f"data/tokens/{code}"] for code in CODES) == line["tokens"]
        assert all(math.isfinite(line[f"data/epochs/{code}"]) for code in CODES)
    # The total is the mean of the languages, weighted by their tokens of the step.
    for before, line in itertools.pairwise(lines):
        new = {c: line[f"data/tokens/{c}"] - before[f"data/tokens/{c}"] for c in CODES}
        total = sum(line[f"train/loss/{c}"] * n for c, n in new.items() if n)
        assert total / 512 == pytest.approx(line["train/loss"], rel=1e-6)


def test_terminal_shows_table_and_place(finished: Path) -> None:
    shown = (finished / "stdout.txt").read_text()
    for word in ("English", "Swahili", "Thai", "Before", "After", "tokens/s"):
        assert word in shown
    table = shown[shown.index("Held-out bits per byte") :].splitlines()
    assert all(len(line) <= 100 for line in table if not line.startswith(("Results", "Report")))


def test_wandb_holds_the_same_numbers(finished: Path) -> None:
    run = next((finished / "wandb").glob("offline-run-*/*.wandb"))
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--summary", str(run)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    values = json.loads((finished / "summary.json").read_text())
    after = values["languages"]["swh"]["bits_per_byte"]["after"]
    assert f"{after:.6f}"[:7] in shown, shown
    for key in ("train/loss/tha", "train/learning_rate", "eval/bits_per_byte/macro", "tokens"):
        assert key in shown
    assert len(list((finished / "wandb").rglob("*.png"))) > 0


def test_same_config_gives_the_same_losses(finished: Path, tmp_path: Path) -> None:
    again = train(tmp_path, *FAST, "callbacks.language_metrics.every_n_steps=1", "tokens=10240")
    assert again.returncode == 0, again.stderr
    assert losses(last(tmp_path)) == losses(finished)
    other = train(
        tmp_path, *FAST, "callbacks.language_metrics.every_n_steps=1", "tokens=10240", "seed=2"
    )
    assert other.returncode == 0, other.stderr
    assert losses(last(tmp_path)) != losses(finished)


def test_resuming_a_finished_run_only_shows_it(finished: Path, tmp_path: Path) -> None:
    before = losses(finished)
    done = train(tmp_path, f"resume={finished}", "logger=none")
    assert done.returncode == 0, done.stderr
    assert "Resuming at step 20 of 20" in done.stdout
    assert losses(finished) == before


def test_untrained_weights_are_not_what_was_saved(finished: Path) -> None:
    """The checkpoint holds trained fp32 weights under transformers' own names."""
    state = next((finished / "checkpoints" / "last" / "state").glob("*.safetensors"))
    with safe_open(state, "pt") as file:
        names = [name for name in file.keys() if "embed_tokens" in name]  # noqa: SIM118
        values = [file.get_tensor(name) for name in names]
    assert any(value.dtype == torch.float32 and value.ndim == 2 for value in values)


def test_sweep_gives_separate_runs_in_one_group(tmp_path: Path) -> None:
    small = ["tokens=512", "evaluation.at_start=false", "evaluation.lexicon=false"]
    options = [option for option in FAST if option != "logger=none"]
    options += ["logger.notes=abcdefgh12345678"]
    swept = ["mix=uniform,natural", "seed=1,2"]
    done = train(tmp_path, "-m", *options, *small, *swept, TOY_API_KEY="abcdefgh12345678")
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "runs" / "debug_fast").glob("*-sweep/multirun.yaml")
    assert "notes=<redacted>" in written.read_text()
    assert "abcdefgh12345678" not in written.read_text()
    runs = sorted((tmp_path / "runs" / "debug_fast").glob("*-sweep/[0-9]"))
    assert len(runs) == 4
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    assert {(c["mix"]["_target_"].rpartition(".")[2], c["seed"]) for c in configs} == {
        ("Uniform", 1),
        ("Uniform", 2),
        ("Natural", 1),
        ("Natural", 2),
    }
    assert {config["logger"]["group"] for config in configs} == {"debug_fast"}
    ids = {next((run / "wandb").glob("offline-run-*")).name.rpartition("-")[2] for run in runs}
    assert len(ids) == 4
    assert "Best: mix=" in done.stdout
    ranking = (written.parent / "sweep.csv").read_text().splitlines()
    assert ranking[0].startswith("rank,mix,runs,value,")
    assert [line.split(",")[:3:2] for line in ranking[1:]] == [["1", "2"], ["2", "2"]]


def test_a_failed_run_does_not_end_a_sweep(tmp_path: Path) -> None:
    done = train(tmp_path, "-m", *FAST, "optimizer.lr=1e30,1e-3", "evaluation=none")
    assert done.returncode == 1
    assert "these failed: 0" in done.stderr
    runs = next((tmp_path / "runs" / "debug_fast").glob("*-sweep"))
    assert "gradient norm" in (runs / "0" / "log.txt").read_text()
    assert not (runs / "0" / "summary.json").exists()
    assert (runs / "1" / "summary.json").exists()
    assert "The sweep is not ranked: None of 2 runs has a result: 0: failed: " in done.stdout
