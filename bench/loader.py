"""The loader on token shards: speed, start, resume and memory, beside datatrove's own reader.

    python -m bench.loader [--rounds 3] [--million 20] [--shards 10000] [--gigabytes 1000]

Speed: packed, mixed micro-batches of 29 sources, made in this process without workers, and windows
of the same length as datatrove's `DatatroveFolderDataset` cuts them from one of these folders
(without mix, positions, boundaries or ledger), in alternation; medians. Padding counts for nothing.
Start: from a path to the first batch, on as many sparse shards as `--shards`, `--gigabytes`
together. Resume: from a position at optimizer step 1,000,000 to the first batch, under `concat` on
those, under `best_fit` on the shards that the speed is of. Memory: what the process holds after 10
batches, and more of it after opening every shard and 1,000 batches from all over them; mapped files
are not in it. The last line is JSON.
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
from pathlib import Path
from statistics import median

import numpy as np
from datatrove.utils.dataset import DatatroveFolderDataset

from marco.data.batches import Cut, MixedBatches
from marco.data.ledger import FIELDS
from marco.data.packing import PackingName
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore
from marco.data.stores import Source
from marco.languages import MARCO_LANGUAGES
from marco.mixing import MixSchedule, QuotaOrder, Segment

LENGTH, SEQUENCES, VOCABULARY, END = 4096, 64, 60_000, 0
STEP = 1_000_000
FEW, BATCHES = 10, 1000


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
    """A shard of one document with hardly a place on the disk: zeros, which are ends of text.

    The token before the last is none, or the loader would take the text for ended twice.
    """
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 4)
        file.write(b"\x01")
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


def opened(folder: Path, name: str) -> Source:
    """The source of a folder's shards."""
    return Source(name, name, ShardStore(list_shards(str(folder), name), END, VOCABULARY), END)


def ours(sources: list[Source], pack: PackingName, tokens: int) -> float:
    """Tokens a second of the loader."""
    steps = max(1, tokens // (SEQUENCES * LENGTH))
    began = time.perf_counter()
    stream = batches(sources, pack, steps, positions={})
    served = sum(int(batch["counts"][:, FIELDS.index("tokens")].sum()) for batch in stream)
    return served / (time.perf_counter() - began)


def datatrove(folder: Path, tokens: int) -> float:
    """Tokens a second of datatrove's reader, which serves one folder, window by window."""
    dataset = DatatroveFolderDataset(str(folder), LENGTH, token_size=2, recursive=False)
    count = min(tokens // LENGTH, len(dataset))
    began = time.perf_counter()
    for number in range(count):
        dataset[number]
    return count * LENGTH / (time.perf_counter() - began)


def resumed(sources: list[Source], pack: PackingName) -> float:
    """Seconds from a position at step `STEP` to its first batch."""
    draws = STEP * SEQUENCES // len(sources)
    # Of best_fit's state any part may begin at any draw.
    state = [0, 0] if pack == "concat" else [STEP, draws]
    positions = {source.name: [draws, draws * LENGTH, *state] for source in sources}
    return timed(lambda: next(iter(batches(sources, pack, 1, positions))))


def measure_speed(rounds: int, million: int) -> dict[str, float]:
    """Medians over the rounds, in tokens a second; and seconds of resuming under best_fit."""
    tokens = million * 1_000_000
    found: dict[str, list[float]] = {"concat": [], "best_fit": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as scratch:
        sources = []
        for number, code in enumerate(MARCO_LANGUAGES):
            folder = Path(scratch, code)
            folder.mkdir()
            for part in range(2):
                write_shard(folder / f"{part}.ds", tokens // 29 // 2, 2 * number + part)
            sources.append(opened(folder, code))
        every = Path(scratch, "all")
        every.mkdir()
        write_shard(every / "0.ds", tokens, 99)
        for _ in range(rounds):
            found["concat"].append(ours(sources, "concat", tokens))
            found["datatrove"].append(datatrove(every, tokens))
            found["best_fit"].append(ours(sources, "best_fit", tokens))
        again = resumed(sources, "best_fit")
    return {**{name: median(speeds) for name, speeds in found.items()}, "resume": again}


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
            sources.append(opened(Path(scratch), "eng"))
            next(iter(batches(sources, "concat", 1, positions={})))

        started = timed(start)
        store = sources[0].store
        again = resumed([Source(code, code, store, END) for code in MARCO_LANGUAGES], "concat")
        jump = len(store) // LENGTH // BATCHES

        def serve(numbers: range) -> float:
            for number in numbers:
                place = {"eng": [number * jump, number * jump * LENGTH, 0, 0]}
                next(iter(batches(sources, "concat", 1, positions=place)))
            return own_memory()

        before = serve(range(FEW))
        store.check()
        after = serve(range(FEW, BATCHES))
    return {
        "start_seconds": started,
        "resume_seconds": again,
        "memory_growth_megabytes": after - before,
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
    for name in ("concat", "best_fit", "datatrove"):
        print(f"{name:10} {speed[name] / 1e6:8.2f} million tokens/s")
    start = measure_start(given.shards, given.gigabytes)
    print(
        f"{given.shards:,} shards of {given.gigabytes:,} GB: first batch after "
        f"{start['start_seconds']:.2f} s; at step {STEP:,} after {start['resume_seconds']:.3f} s; "
        f"memory grew by {start['memory_growth_megabytes']:.1f} MB over all shards and "
        f"{BATCHES:,} batches."
    )
    line = {
        "tokens_per_second_per_core": speed["concat"],
        "best_fit_tokens_per_second_per_core": speed["best_fit"],
        "datatrove_tokens_per_second": speed["datatrove"],
        "ratio": speed["concat"] / speed["datatrove"],
        "best_fit_resume_seconds": speed["resume"],
        **start,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
