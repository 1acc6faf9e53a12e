"""The loader on token shards: speed, start, resume and memory, beside datatrove's own reader.

    python -m bench.loader [--rounds 3] [--million 20] [--shards 10000] [--gigabytes 1000]

Speed: packed, mixed micro-batches of 29 sources, made in this process without workers, and windows
of the same length as datatrove's `DatatroveFolderDataset` cuts them from one of these folders
(without mix, positions, boundaries or ledger), in alternation; medians. Start: from a path to the
first batch, on as many sparse shards as `--shards`, `--gigabytes` together. Resume: from a
position at optimizer step 1,000,000 to the first batch. Memory: what the process itself holds
(without mapped files) after 10 and after 1,000 batches from all over those shards.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
from datatrove.utils.dataset import DatatroveFolderDataset

from marco.data.batches import Cut, MixedBatches
from marco.data.packing import PackingName
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore
from marco.data.stores import Source
from marco.languages import MARCO_LANGUAGES
from marco.mixing import MixSchedule, QuotaOrder, Segment

LENGTH, SEQUENCES, VOCABULARY, END = 4096, 64, 60_000, 0
STEP = 1_000_000


def write_shard(path: Path, tokens: int, seed: int) -> None:
    """A shard of documents of about 500 random tokens, in datatrove's layout."""
    generator = np.random.default_rng(seed)
    lengths = generator.geometric(1 / 500, tokens // 500) + 1
    ends = np.cumsum(lengths)
    values = generator.integers(1, VOCABULARY, ends[-1], dtype=np.uint16)
    values[ends - 1] = END
    values.tofile(path)
    ends.astype("<u8").tofile(f"{path}.index")


def write_sparse(path: Path, size: int) -> None:
    """A shard of one document that takes no place on the disk: zeros, all of them ends of text."""
    with path.open("wb") as file:
        file.truncate(size)
    np.array([size // 2], "<u8").tofile(f"{path}.index")


def batches(
    sources: list[Source], pack: PackingName, steps: int, positions: dict[str, list[int]]
) -> MixedBatches:
    """Micro-batches of a mix of equal shares."""
    equal = {source.name: 1 / len(sources) for source in sources}
    schedule = MixSchedule((Segment("", 10**15, equal, equal),))
    return MixedBatches(
        sources,
        partial(QuotaOrder, schedule, LENGTH),
        length=LENGTH,
        pack=pack,
        cut=Cut(SEQUENCES, 8),
        seed=0,
        steps=steps,
        token_bytes=np.full(VOCABULARY, 4),
        positions=positions,
    )


def opened(folder: Path, name: str, language: str) -> Source:
    """The source of a folder's shards."""
    return Source(name, language, ShardStore(list_shards(str(folder), name), END, VOCABULARY), END)


def ours(sources: list[Source], pack: PackingName, tokens: int) -> float:
    """Tokens a second of the loader."""
    steps = max(1, tokens // (SEQUENCES * LENGTH))
    began = time.perf_counter()
    served = sum(
        batch["input_ids"].numel() for batch in batches(sources, pack, steps, positions={})
    )
    return served / (time.perf_counter() - began)


def datatrove(folder: Path, tokens: int) -> float:
    """Tokens a second of datatrove's reader, which serves one folder, window by window."""
    dataset = DatatroveFolderDataset(str(folder), LENGTH, token_size=2, recursive=False)
    count = min(tokens // LENGTH, len(dataset))
    began = time.perf_counter()
    for number in range(count):
        dataset[number]
    return count * LENGTH / (time.perf_counter() - began)


def measure_speed(rounds: int, million: int) -> dict[str, float]:
    """Medians over the rounds, in tokens a second."""
    tokens = million * 1_000_000
    found: dict[str, list[float]] = {"concat": [], "best_fit": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as scratch:
        sources = []
        for number, code in enumerate(MARCO_LANGUAGES):
            folder = Path(scratch, code)
            folder.mkdir()
            for part in range(2):
                write_shard(folder / f"{part}.ds", tokens // 29 // 2, 2 * number + part)
            sources.append(opened(folder, code, code))
        every = Path(scratch, "all")
        every.mkdir()
        write_shard(every / "0.ds", tokens, 99)
        for _ in range(rounds):
            found["concat"].append(ours(sources, "concat", tokens))
            found["datatrove"].append(datatrove(every, tokens))
            found["best_fit"].append(ours(sources, "best_fit", tokens))
    return {name: median(speeds) for name, speeds in found.items()}


def own_memory() -> float:
    """Megabytes of this process that are not mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 1024


def timed(what: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def measure_start(shards: int, gigabytes: int) -> dict[str, float]:
    """Start, resume and memory on many shards."""
    size = gigabytes * 10**9 // shards // 2 * 2
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(shards):
            write_sparse(Path(scratch, f"{number:06}.ds"), size)
        taken = sum(entry.stat().st_blocks * 512 for entry in os.scandir(scratch))
        sources: list[Source] = []

        def start() -> None:
            sources.append(opened(Path(scratch), "eng", "eng"))
            next(iter(batches(sources, "concat", 1, positions={})))

        started = timed(start)
        mix = [Source(code, code, sources[0].store, END) for code in MARCO_LANGUAGES]
        draws = STEP * SEQUENCES // len(mix)
        position = {source.name: [draws, draws * LENGTH, 0, 0] for source in mix}
        resumed = timed(lambda: next(iter(batches(mix, "concat", 1, positions=position))))
        # windows of every part of the terabyte, so that all shards are opened
        memory = []
        stream = iter(batches(sources, "concat", 10_000, positions={}))
        jump = len(sources[0].store) // LENGTH // 1000
        for number in range(1000):
            place = {"eng": [number * jump, number * jump * LENGTH, 0, 0]}
            stream = iter(batches(sources, "concat", 1, positions=place))
            list(islice(stream, 1))
            if number in (10, 999):
                memory.append(own_memory())
    return {
        "start_seconds": started,
        "resume_seconds": resumed,
        "memory_growth_megabytes": memory[1] - memory[0],
        "disk_megabytes": taken / 1e6,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--million", type=int, default=20, help="tokens of a round")
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--gigabytes", type=int, default=1000, help="of all sparse shards")
    given = parser.parse_args()
    speed = measure_speed(given.rounds, given.million)
    for name, value in speed.items():
        print(f"{name:10} {value / 1e6:8.2f} million tokens/s")
    start = measure_start(given.shards, given.gigabytes)
    print(
        f"{given.shards:,} shards of {given.gigabytes:,} GB: first batch after "
        f"{start['start_seconds']:.2f} s; at step {STEP:,} after {start['resume_seconds']:.3f} s; "
        f"memory grew by {start['memory_growth_megabytes']:.1f} MB over 1,000 batches."
    )
    line = {
        "tokens_per_second_per_core": speed["concat"],
        "best_fit_tokens_per_second_per_core": speed["best_fit"],
        "datatrove_tokens_per_second": speed["datatrove"],
        "ratio": speed["concat"] / speed["datatrove"],
        **start,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
