"""Tokenising text, ours and `datasets.map` with the same fast tokenizer, in alternation.

    python -m bench.tokenise [--rounds 5] [--cores 1] [--passes 2]

The text is the UDHR in 520 translations (6.7 MB), the vocabulary Qwen2's. `ours` is what a source
goes through: documents to `.ds` and `.ds.index` on the disk, on `cores` threads.
`encode_batch_fast` is `tokenizers` alone, without keeping anything; `datasets.map` is transformers'
tokenizer on batches of 1,000, into Arrow in memory; both on `cores` threads of tokenizers' own.
Every round starts each contender once, in a process of its own, which prepares itself and then goes
over the text `passes` times. Figures are medians over rounds and passes, of megabytes of UTF-8 a
second and core.

It fails where an id differs from `tokenizers`' in any translation, for Qwen2's vocabulary or for
one trained on a few translations. The last line is JSON; on a machine that others use, its ratio of
processor time is the steadier one.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from statistics import median
from typing import Any

from marco.data import Corpus, Document
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer
from marco.tokenizers.qwen2 import QwenTokenizer

OURS, MAP, BATCH = "ours", "datasets.map", "encode_batch_fast"
CONTENDERS = (OURS, MAP, BATCH)


def declarations() -> list[str]:
    """Every translation, whole."""
    packed = files("marco").joinpath("assets/udhr.jsonl.xz").read_bytes()
    rows = [json.loads(line) for line in lzma.decompress(packed).splitlines()]
    return ["\n".join("\n".join(a) for a in row["articles"].values()) for row in rows]


def differing(tokenizer: Tokenizer, texts: list[str]) -> int:
    """How many texts `encode_documents` gives other ids than `tokenizers`."""
    ours = tokenizer.encode_documents(texts)
    theirs = tokenizer.encode_batch(texts)
    return sum(a.tolist() != b for a, b in zip(ours, theirs, strict=True))


def embedded(texts: list[str]) -> Tokenizer:
    documents = [Document(text, "mul", "udhr", str(n)) for n, text in enumerate(texts[::10])]
    return EmbeddedTokenizer(4096).load(Corpus({"mul": documents}, {}))


def _pass(contender: str, cores: int, texts: list[str]) -> Callable[[], Any]:
    """What a contender does with the text, prepared."""
    tokenizer = QwenTokenizer().load(Corpus({}, {}))
    if contender == OURS:
        return _ours(tokenizer, cores, texts)
    if contender == BATCH:
        return lambda: tokenizer._backend.encode_batch_fast(texts, add_special_tokens=False)
    import datasets
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer._backend)
    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict({"text": texts})
    options = {"batched": True, "remove_columns": ["text"], "load_from_cache_file": False}
    return lambda: rows.map(
        lambda batch: fast(batch["text"], return_attention_mask=False), **options
    )


def _ours(tokenizer: Tokenizer, cores: int, texts: list[str]) -> Callable[[], Any]:
    from marco.data import token_cache

    os.environ["MARCO_CACHE"] = tempfile.mkdtemp()
    token_cache.usable_cores = lambda: cores
    documents = [Document(text, "mul", "udhr", str(n)) for n, text in enumerate(texts)]
    tokenizer.encode_documents([])

    def run() -> None:
        token_cache.tokenised("udhr", "mul", documents, str(time.time_ns()), tokenizer, small=0)

    return run


def contend(contender: str, cores: int, passes: int) -> None:
    texts = declarations()
    run = _pass(contender, cores, texts)
    seconds = []
    for _ in range(passes):
        started, worked = time.perf_counter(), time.process_time()
        run()
        seconds.append([time.perf_counter() - started, time.process_time() - worked])
    print(json.dumps(seconds))


def measure(contender: str, cores: int, passes: int) -> list[list[float]]:
    """Seconds by the clock and of the processor, of each pass of a contender in a process."""
    arguments = ["--contender", contender, "--cores", str(cores), "--passes", str(passes)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.tokenise", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "RAYON_NUM_THREADS": str(cores), "TOKENIZERS_PARALLELISM": "true"},
    )
    if done.returncode:
        sys.exit(f"{contender} failed:\n{done.stderr}")
    seconds: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def main() -> None:
    given = _arguments()
    if given.contender:
        contend(given.contender, given.cores, given.passes)
        return
    texts = declarations()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    tokenizers = {"qwen2": QwenTokenizer().load(Corpus({}, {})), "embedded": embedded(texts)}
    for name, tokenizer in tokenizers.items():
        if wrong := differing(tokenizer, texts):
            sys.exit(f"{name}: the ids of {wrong} of {len(texts)} declarations differ.")
    print(
        f"{len(texts)} declarations, {megabytes:.2f} MB: ids identical for {', '.join(tokenizers)}"
    )
    seconds: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    for number in range(given.rounds):
        for name in CONTENDERS:
            found = measure(name, given.cores, given.passes)
            seconds[name] += found
            speeds = ", ".join(f"{megabytes / clock / given.cores:.2f}" for clock, _ in found)
            print(f"round {number + 1} {name:<18} {speeds} MB/s a core", flush=True)
    speed = {n: megabytes / median(c for c, _ in s) / given.cores for n, s in seconds.items()}
    worked = {name: median(cpu for _, cpu in found) for name, found in seconds.items()}
    for name, value in speed.items():
        print(
            f"{name:<18} {value:6.2f} MB/s a core, {value / speed[MAP]:.2f} × {MAP}; "
            f"{worked[name] / megabytes:.3f} s of a processor a MB"
        )
    line = {
        "cores": given.cores,
        "mb_per_second_per_core": round(speed[OURS], 3),
        "datasets_map_mb_per_second_per_core": round(speed[MAP], 3),
        "encode_batch_fast_mb_per_second_per_core": round(speed[BATCH], 3),
        "ratio": round(speed[OURS] / speed[MAP], 3),
        "ratio_of_processor_time": round(worked[MAP] / worked[OURS], 3),
    }
    print(json.dumps(line))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1, help="threads of each contender")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if min(given.rounds, given.cores, given.passes) < 1:
        parser.error("--rounds, --cores and --passes must be at least 1.")
    return given


if __name__ == "__main__":
    main()
