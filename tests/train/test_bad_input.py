"""What a user can get wrong: one clear message, before anything starts."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from shard_files import EOT, word_tokenizer, write_shard
from support import FAST, last, losses, train

from marco.config import check_command_line
from marco.data.fingerprint import stamp
from marco.training.checks import check_run

Refuse = Callable[..., str]

SOURCES = ("data=mixture", "~data.base", "data.sources.parallel.languages=[eng,swh]")


@pytest.fixture
def refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refuse:
    """Give train.py a command line it must refuse; returns the message."""
    monkeypatch.chdir(tmp_path)

    def given(*overrides: str) -> str:
        with pytest.raises(SystemExit) as ended:
            check_command_line(list(overrides), check_run)
        assert ended.value.code == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert not list(tmp_path.glob("runs/*")), "a run folder was made"
        return message

    return given


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimzer.lr=1e-3"], ["optimzer", "Did you mean 'optimizer"]),
        (["lr=1e-3"], ["optimizer.lr"]),
        (["optimizer.lr=fast"], ["optimizer.lr", "number"]),
        (["+optimizer.momentum=0.9"], ["optimizer.momentum", "betas"]),
        (["mix=unifrom"], ["unifrom", "uniform"]),
        (["data.languages=[eng,xyzzy]"], ["xyzzy"]),
        (["data.languages=[eng,en]"], ["eng"]),
        (["data=files"], ["data.path"]),
        (["data=files", "data.path=nowhere"], ["nowhere"]),
        (["data=files", "data.pth=texts"], ["data.pth", "Did you mean 'data.path'"]),
        (["model=pretrained", "optimizer.lrr=1"], ["optimizer.lrr", "Did you mean 'optimizer.lr'"]),
        (["tokenizer=pretrained", "tokenizer.path=./nowhere"], ["nowhere"]),
        (["model=pretrained"], ["model.path"]),
        (["model=pretrained", "model.path=./nowhere"], ["model.path=./nowhere", "no such folder"]),
        (["model.num_key_value_heads=2"], ["num_key_value_heads=2"]),
        (["batch.sequences=7", "batch.micro_sequences=2"], ["batch.sequences=7"]),
        (["trainer=ddp", "batch.sequences=7"], ["trainer.devices=2"]),
        (["trainer.devices=2"], ["trainer.strategy"]),
        (["batch.sequence_length=8192"], ["max_position_embeddings"]),
        (["tokens=10"], ["tokens=10", "global batch"]),
        (["tokens=lots"], ["tokens"]),
        (["schedule.warmup=2"], ["schedule.warmup=2"]),
        (["evaluation.languages=[yor]"], ["yor"]),
        (["mix=temperature", "mix.alpha=-1"], ["mix.alpha"]),
        (["callbacks.checkpoint.every_token=5"], ["every_token", "every_tokens"]),
        (["logger.projekt=x"], ["logger.projekt"]),
        (["paths.runs=/proc/marco"], ["paths.runs=/proc/marco", "cannot be written"]),
        (["resume=nowhere"], ["nowhere"]),
        (["-m", "seed=1,two"], ["seed", "two"]),
        (["-m", "mix=uniform,natural", "optimizer.lr=-1"], ["optimizer.lr=-1"]),
        (["name=../escape"], ["name="]),
        (["model.vocab_size=100"], ["100 rows", "257"]),
        (["tokenizer=qwen2", "model.vocab_size=1000"], ["1000 rows", "151646"]),
        (["kernels=tritn"], ["triton"]),
        (["evaluation=null"], ["choose evaluation=none"]),
        ([*SOURCES], ["holds nothing out", "evaluation=none"]),
        ([*SOURCES, "evaluation=none"], ["tokenizer=embedded", "only sources"]),
        ([*SOURCES, "data.sources.parallel.align=x"], ["+data.sources.parallel.align=…"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_command_lines(refuse: Refuse, overrides: list[str], words: list[str]) -> None:
    message = refuse(*overrides)
    for word in words:
        assert word in message


def test_triton_needs_a_gpu(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "kernels=auto takes the fast one" in refuse("kernels=triton", "trainer.accelerator=cpu")


def test_no_traceback_and_no_folder(tmp_path: Path) -> None:
    done = train(tmp_path, "optimizer.lr=fast")
    assert done.returncode == 2
    assert done.stderr.startswith("error: optimizer.lr")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mixture", [True, False], ids=["a source", "a folder of sources"])
def test_shards_of_another_tokenizer(refuse: Refuse, tmp_path: Path, mixture: bool) -> None:
    write_shard(tmp_path / "shards" / "swh" / "0.ds", [[1, 2, EOT]] * 30)
    stamp(tmp_path / "shards" / "swh", word_tokenizer(20, "twenty"))
    options = ["data=shards", f"data.path={tmp_path / 'shards'}"]
    if mixture:
        options = [
            "data=mixture",
            "~data.base",
            "+data.sources.swh._target_=marco.data.shards.Shards",
        ]
        options += [
            f"+data.sources.swh.path={tmp_path / 'shards' / 'swh'}",
            "~data.sources.parallel",
        ]
    message = refuse(*options, "tokenizer=qwen2", "evaluation=none")
    where = "data.sources.swh.path" if mixture else "data.path"
    assert f"error: {where}: the shards in" in message
    assert "tokenizer 'twenty'" in message
    assert "the run's is 'qwen2'" in message


def write(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


TEXT = "\n\n".join(f"Kila mtu ana haki ya kuishi namba {n}." for n in range(200)).encode()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("swh.txt", b"", ["swh.txt", "empty"]),
        ("swh.txt", TEXT[:100] + b"\xff\xfe" + TEXT[100:], ["swh.txt", "UTF-8", "line"]),
        ("swh.jsonl", b'{"text": "' + b"a" * 50_000_000 + b'"}\n', ["swh.jsonl", "line 1"]),
        ("swahilli.txt", TEXT, ["swahilli", "Did you mean"]),
        ("swh.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', ["swh.jsonl", "line 2", "text"]),
    ],
    ids=["empty", "not UTF-8", "50 MB line", "unknown language", "no text key"],
)
def test_bad_text(tmp_path: Path, name: str, data: bytes, words: list[str]) -> None:
    write(tmp_path / "texts", name, data)
    write(tmp_path / "texts", "eng.txt", TEXT.replace(b"Kila", b"Every"))
    done = train(tmp_path, "debug=fast", "logger=none", "data=files", "data.path=texts")
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    for word in words:
        assert word in error[0]


def test_own_text_trains(tmp_path: Path) -> None:
    write(tmp_path / "texts", "swh.txt", TEXT)
    lines = [json.dumps({"text": f"Everyone has the right, number {n}."}) for n in range(200)]
    write(tmp_path / "texts", "eng.jsonl", "\n".join(lines).encode())
    done = train(tmp_path, "debug=fast", "logger=none", "data=files", "data.path=texts")
    assert done.returncode == 0, done.stderr
    summary = json.loads((last(tmp_path) / "summary.json").read_text())
    assert set(summary["languages"]) == {"eng", "swh"}
    bits = summary["macro"]["bits_per_byte"]
    assert bits["after"] < bits["before"]


def test_changed_text_is_refused_on_resume(tmp_path: Path) -> None:
    write(tmp_path / "texts", "swh.txt", TEXT)
    write(tmp_path / "texts", "eng.txt", TEXT.replace(b"Kila", b"Every"))
    done = train(tmp_path, "debug=fast", "logger=none", "data=files", "data.path=texts")
    assert done.returncode == 0, done.stderr
    write(tmp_path / "texts", "eng.txt", TEXT.replace(b"Kila", b"Each"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = train(elsewhere, f"resume={last(tmp_path)}", "tokens=100000")
    assert done.returncode == 1
    assert "The text is not the one" in done.stderr


def test_a_changed_source_is_refused_on_resume(tmp_path: Path) -> None:
    """A source that is no part of the corpus' documents, with as many tokens as before."""
    write(tmp_path, "more.txt", TEXT)
    more = "{_target_: marco.data.text_source.TextSource, path: ../more.txt, language: swh}"
    mixture = ("data=mixture", "data.base.languages=[eng,swh]", "~data.sources.parallel")
    (tmp_path / "here").mkdir()
    done = train(
        tmp_path / "here",
        *("debug=fast", "logger=none", "evaluation=none", *mixture, f"+data.sources.more={more}"),
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "more.txt").write_bytes(TEXT.replace(b"Kila", b"Alik"))
    done = train(tmp_path / "here", "resume=last", "tokens=100000")
    assert done.returncode == 1
    assert "The text is not the one" in done.stderr


def test_full_disk_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file may grow beyond 120 kB: checkpoints and plots fail, training goes on."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, limits[1]))
    try:
        done = train(tmp_path, *FAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 0, done.stderr
    assert "No checkpoint of step" in done.stdout
    run = last(tmp_path)
    assert not list((run / "checkpoints").glob("step-*"))
    assert len(losses(run)) > 0
    assert "Swahili" in done.stdout


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    done = train(
        tmp_path,
        *FAST,
        "optimizer.lr=1e30",
        "schedule=constant",
        "schedule.warmup=0",
        "callbacks.checkpoint.every_tokens=512",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "bad_batch.json" in done.stderr
    run = last(tmp_path)
    record = json.loads((run / "bad_batch.json").read_text())
    assert "nan" in (record["loss"], record["gradient_norm"])
    assert len(record["sequences"]) == 4
    assert {sequence["language"] for sequence in record["sequences"]} <= {"eng", "swh", "tha"}
    kept = f"step-{record['step'] - 1:08d}"
    assert kept in done.stderr
    assert (run / "checkpoints" / kept / "manifest.json").exists()
    assert not (run / "checkpoints" / f"step-{record['step']:08d}").exists()
    (alert,) = map(json.loads, (run / "alerts.jsonl").read_text().splitlines())
    assert (alert["level"], alert["title"]) == ("error", "Training went wrong")
    assert f"Step {record['step']}: loss" in alert["text"]
