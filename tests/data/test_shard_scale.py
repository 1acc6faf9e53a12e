"""Ten thousand shards start in a moment, and a terabyte of them is read in a small process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from shard_files import EOT, word_tokenizer, write_shard

from marco.data.fingerprint import stamp
from marco.data.shards import Shards

_READER = """
import json, sys, time
import numpy as np
import psutil
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore

store = ShardStore(list_shards(sys.argv[1], "here"), int(sys.argv[2]), 20)
random = np.random.default_rng(0)
process = psutil.Process()

def read(count):
    for start in random.integers(0, len(store) - 4096, count).tolist():
        assert len(store.read(start, start + 4096)) == 4096

def follow(shard, reads):
    for number in range(reads):
        start = shard * 2**29 + number * 4096
        store.read(start, start + 4096)

read(300)
before = process.memory_info().rss
began = time.perf_counter()
read(3000)
seconds = time.perf_counter() - began
follow(3, 20_000)
print(json.dumps({
    "tokens": len(store), "growth": process.memory_info().rss - before,
    "open": process.num_fds(), "microseconds": seconds / 3000 * 1e6,
}))
"""


def test_a_terabyte_is_read_in_a_small_process(tmp_path: Path) -> None:
    """1,000 sparse shards of 2^30 bytes; RSS counts mapped pages too."""
    count, size = 1000, 2**30
    for number in range(count):
        with (tmp_path / f"{number:04d}.ds").open("wb") as file:
            os.truncate(file.fileno(), size)
            file.seek(size - 2)
            file.write(np.array([EOT], "<u2").tobytes())
        np.array([size // 2], "<u8").tofile(tmp_path / f"{number:04d}.ds.index")
    on_disk = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert on_disk < 50e6, "this file system has no sparse files"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _READER, str(tmp_path), str(EOT)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(found)
    assert found["tokens"] == count * size // 2
    assert found["growth"] < 20e6
    assert found["open"] < 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(10_000):
        write_shard(folder / f"{number:05d}.ds", [[number % 9, EOT]])
    return folder


def test_ten_thousand_shards_start_in_two_seconds(many: Path) -> None:
    tokenizer = word_tokenizer()
    began = time.process_time()
    assert stamp(many, tokenizer) == 10_000
    print(f"stamped in {time.process_time() - began:.2f} s")
    settings = Shards(path=str(many))
    began = time.process_time()  # what other processes do meanwhile is not the shards' cost
    settings.check("data.sources.swh")
    source = settings.open("swh", "swh", tokenizer)
    first = source.store.read(0, 4)
    seconds = time.process_time() - began
    print(f"{seconds:.2f} s, {len(pickle.dumps(source.store))} bytes pickled")
    assert seconds < 2
    assert first.tolist() == [0, EOT, 1, EOT]
    assert (len(source.store), source.store.documents) == (20_000, 10_000)
    assert source.store.read(19_998, 20_000).tolist() == [9_999 % 9, EOT]
    assert len(pickle.dumps(source.store)) < 2e6
