from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from marco.errors import CheckpointError
from marco.training import checkpoint
from marco.training.checkpoints import folder as folders

WRITER = """
import os, resource, signal, sys, time, warnings
from pathlib import Path
import torch
from marco.training import checkpoint

torch.manual_seed(0)
folder, how = Path(sys.argv[1]), sys.argv[2]
model = torch.nn.Linear(512, 512)  # 1 MB

def save(step):
    checkpoint.save(folder, model=model, optimizer=None, progress={"step": step}, config={},
                    tokenizer_fingerprint="tok", step=step, tokens=step)

save(1)
if how == "limit":
    # The kernel itself refuses more than 300 kB a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        save(2)
    except checkpoint.CheckpointWriteError as error:
        print(error)
        sys.exit(7)
else:
    stop, fsync, calls = int(how), os.fsync, 0
    def slow(descriptor):
        global calls
        calls += 1
        if calls == stop:
            print("now", flush=True)
            time.sleep(60)
        fsync(descriptor)
    os.fsync = slow
    save(2)
"""


def save(folder: Path, step: int, **more: Any) -> Path:
    values: dict[str, Any] = {"progress": {"step": step}, "config": {}, **more}
    return checkpoint.save(
        folder,
        model=nn.Linear(4, 4),
        optimizer=None,
        tokenizer_fingerprint="tok",
        step=step,
        tokens=step,
        **values,
    )


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_leaves_the_earlier_ones_and_nothing_else(tmp_path: Path) -> None:
    process = start(tmp_path, "limit")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    assert "step-00000002 could not be written" in output
    assert "File too large" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step-00000001"]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000001"


# 1: the tensors, 3: the random state, 6: the manifest, 10: after the rename.
@pytest.mark.parametrize(("fsync", "step"), [(1, 1), (6, 1), (10, 2)])
def test_a_killed_writer_leaves_whole_checkpoints(tmp_path: Path, fsync: int, step: int) -> None:
    process = start(tmp_path, str(fsync))
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    leftovers = [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]
    assert len(leftovers) == (step == 1)

    newest = checkpoint.latest(tmp_path)
    assert newest == tmp_path / f"step-{step:08d}"
    model = nn.Linear(512, 512)
    loaded = checkpoint.load(newest, model=model, optimizer=None, tokenizer_fingerprint="tok")
    assert loaded.progress == {"step": step}

    save(tmp_path, 3)  # the next writer sweeps up
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("call", range(1, 11))
def test_whichever_write_fails_the_earlier_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save(tmp_path, 1)
    fsync, calls = os.fsync, iter(range(1, 100))

    def failing(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(checkpoint.CheckpointWriteError, match="No space left"):
            save(tmp_path, 2)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    newest = 1 if call < 10 else 2  # the tenth comes after the rename
    assert checkpoint.latest(tmp_path) == tmp_path / f"step-{newest:08d}"
    assert checkpoint.verify(tmp_path / "step-00000001") == []


def test_too_little_space_is_said_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(checkpoint.CheckpointWriteError, match=r"has 1e-06 GB free.*takes 0.00105"):
        save(tmp_path, 1)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(checkpoint.CheckpointWriteError, match="could not be written"):
        save(tmp_path / "taken", 1)


@pytest.mark.parametrize("call", [1, 4])
def test_ctrl_c_while_writing_is_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    # DCP turns it into an exception of its own, that is neither.
    calls = iter(range(1, 100))

    def interrupted(descriptor: int) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1)
    assert not list(tmp_path.iterdir())


def test_a_fault_of_ours_is_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr(torch.Tensor, "contiguous", broken)
    with pytest.raises(CheckpointError, match="TypeError: a fault") as caught:
        save(tmp_path, 1)
    assert not isinstance(caught.value, checkpoint.CheckpointWriteError)
    assert not list(tmp_path.iterdir())


def test_a_replacement_that_dies_between_its_renames_loses_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    os.replace(path, tmp_path / ".old-step-00000001")
    assert checkpoint.latest(tmp_path) == tmp_path / ".old-step-00000001"
    save(tmp_path, 2)
    assert list(checkpoint.checkpoints(tmp_path)) == [1, 2]
    assert checkpoint.verify(path) == []


def test_a_replacement_that_fails_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, 1, progress={"try": 1})
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(source).name.startswith(".tmp-"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(checkpoint.CheckpointWriteError, match="Input/output error"):
        save(tmp_path, 1, progress={"try": 2})
    loaded = checkpoint.load(
        path, model=nn.Linear(4, 4), optimizer=None, tokenizer_fingerprint="tok"
    )
    assert loaded.progress == {"try": 1}


def test_only_dead_writers_are_swept(tmp_path: Path) -> None:
    host = os.uname().nodename
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive, gone = (
        f".tmp-step-00000001-{host}-{os.getppid()}",
        f".tmp-step-00000002-{host}-{dead.pid}",
    )
    far, silent = ".tmp-step-00000003-elsewhere-1", ".tmp-step-00000004-elsewhere-1"
    for name in (alive, gone, far, silent, ".trash-step-00000005-1-1"):
        (tmp_path / name).mkdir()
    long_ago = time.time() - 7200
    os.utime(tmp_path / silent, (long_ago, long_ago))
    folders.clean_up(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {alive, far}
