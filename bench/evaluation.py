"""The scorer and lm-eval's own model for transformers, on the same requests, in alternation.

    python -m bench.evaluation [--rounds 3] [--layers 4] [--model FOLDER] [--dtype float32]
        [--kernels auto] [--threads 1] [--sizes 1,4,16] [--parts choices,rolling,generation]
        [--profile] [--quick]

The model is a slice of Qwen2-0.5B with its 151,936 rows and random weights, or `--model`; the
text is the UDHR. `choices`: items of four options of 5 to 20 tokens after a context of 200.
`rolling`: whole texts of 50 to 400 tokens. `generation`: 64 tokens after prompts of 20 to 200. Ours
is `MarcoLM` with our kernels in its model, lm-eval's `HFLM` has the same weights in a plain one. It
first answers everything once at every batch size of `--sizes`; the fastest stays. Then both answer
in turn, in one process and one type, on one thread unless told otherwise: a machine that others use
is steadier so, and the ratio of processor time (in brackets; the best batch size is by it) steadier
still. Ratios are of the medians over rounds. `--profile` says where ours spends its time, `--quick`
takes one round of a quarter of the requests.

It fails where, in fp32, answers differ: log-likelihoods by more than 1e-4 nats, those of whole
texts, which HFLM adds up in fp32, by more than 1e-6 of them, predictions or texts at all. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from bench.evaluation_profile import profiled
from bench.train_step_contender import SHAPES
from marco.data import Corpus
from marco.data.udhr import Udhr
from marco.errors import nearest
from marco.evaluation.lm.model import MarcoLM
from marco.models.kernels import Kernels, install
from marco.tokenizers.qwen2 import QwenTokenizer

#: Name here → lm-eval's, how many requests, and the ratio's name in the last line.
PARTS = {
    "choices": ("loglikelihood", 32, "multiple_choice_ratio"),
    "rolling": ("loglikelihood_rolling", 12, "rolling_ratio"),
    "generation": ("generate_until", 16, "generation_ratio"),
}
LANGUAGES = ("eng", "swh", "deu", "cmn", "arb", "hin")
NEW_TOKENS = 64
TOLERANCE, RELATIVE_TOLERANCE = 1e-4, 1e-6

#: Seconds by the clock, and of the processor.
Times = tuple[float, float]


class Cutter:
    """Pieces of the UDHR, in one language after the other."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        corpus = Udhr(languages=list(LANGUAGES)).load()
        texts = [" ".join(each.text for each in corpus.train[code]) for code in LANGUAGES]
        self._tokens = [tokenizer(text, verbose=False)["input_ids"] for text in texts]
        self._starts = [0] * len(texts)
        self._turn = 0

    def piece(self, length: int) -> str:
        """A text of about so many tokens; another one each time."""
        self._turn = (self._turn + 1) % len(self._tokens)
        tokens, start = self._tokens[self._turn], self._starts[self._turn]
        self._starts[self._turn] = (start + length) % (len(tokens) - 500)
        return str(self._tokenizer.decode(tokens[start : start + length])).strip()


def requests_of(part: str, tokenizer: Any, count: int) -> list[Instance]:
    """The first requests of a part; of `choices`, four an item."""
    kind, *_ = PARTS[part]
    cut, generator = Cutter(tokenizer), np.random.default_rng(0)
    made: list[tuple[Any, ...]] = []
    if part == "choices":
        for _ in range(count // 4):
            context = cut.piece(200)
            options = generator.integers(5, 21, 4).tolist()
            made += [(context, f" {cut.piece(length)}") for length in options]
    elif part == "rolling":
        made = [(cut.piece(n),) for n in generator.integers(50, 401, count).tolist()]
    else:
        how = {"until": ["\n\n\n"], "max_gen_toks": NEW_TOKENS}
        made = [(cut.piece(n), how) for n in generator.integers(20, 201, count).tolist()]
    return [Instance(kind, {}, each, n, (part, n, 1)) for n, each in enumerate(made)]


def pretrained(path: str, dtype: torch.dtype, kernels: Any) -> tuple[Any, Any, str, Any]:
    """As `networks`, of a folder of transformers, and its tokenizer."""
    plain, ours = (AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval() for _ in range(2))
    line = install(ours, Kernels(kernels).chosen("cpu"))
    return plain, ours, line, AutoTokenizer.from_pretrained(path)


def networks(shape: dict[str, Any], dtype: torch.dtype, kernels: Any) -> tuple[Any, Any, str]:
    """Two models of equal weights, the second with kernels, and a line about those."""
    sizes = {key: size for key, size in shape.items() if key not in ("rows", "length")}
    config = Qwen2Config(tie_word_embeddings=True, max_position_embeddings=2048, **sizes)
    torch.manual_seed(0)
    plain, ours = (AutoModelForCausalLM.from_config(config, dtype=dtype).eval() for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    return plain, ours, install(ours, Kernels(kernels).chosen("cpu"))


def ask(lm: Any, requests: Sequence[Instance]) -> tuple[Times, list[Any]]:
    """Seconds by the clock and of the processor, and the responses."""
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        began, worked = time.perf_counter(), time.process_time()
        responses = getattr(lm, requests[0].request_type)(list(requests))
        return (time.perf_counter() - began, time.process_time() - worked), responses


def difference(part: str, ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[float, str | None]:
    """The largest of log-likelihoods in nats, and what there is to say of unequal answers."""
    pairs = list(zip(ours, theirs, strict=True))
    if part == "generation":
        unequal = sum(a != b for a, b in pairs)
        return 0.0, f"{unequal} of {len(pairs)} texts differ" if unequal else None
    if part == "rolling":
        found = max(abs(a - b) for a, b in pairs)
        wide = any(not abs(a - b) <= RELATIVE_TOLERANCE * abs(b) for a, b in pairs)
        return found, f"log-likelihoods differ by up to {found:.1e} nats" if wide else None
    found = max(abs(a - b) for (a, _), (b, _) in pairs)
    if any(a != b for (_, a), (_, b) in pairs):
        return found, "predictions differ"
    wide = not found <= TOLERANCE
    return found, f"log-likelihoods differ by up to {found:.1e} nats" if wide else None


def compare(
    part: str, ours: Any, make: Callable[[int], Any], sizes: Sequence[int], rounds: int, count: int
) -> tuple[Times, float, str | None]:
    """Print seconds of both; return lm-eval's over ours, and the difference of their answers."""
    requests = requests_of(part, ours.tokenizer, count)
    ask(ours, requests[:1])
    tried = {size: ask(make(size), requests)[0] for size in sizes}
    best = min(tried, key=lambda size: tried[size][1])
    listed = ", ".join(f"{times[1]:.2f} s at {size}" for size, times in tried.items())
    print(f"{part}: {len(requests)} requests. HFLM, by batch size: {listed}", flush=True)
    mine: list[Times] = []
    other: list[Times] = []
    for number in range(rounds):
        (took, answers), (needed, expected) = ask(ours, requests), ask(make(best), requests)
        mine.append(took)
        other.append(needed)
        said = [f"{clock:.2f} ({worked:.2f}) s" for clock, worked in (took, needed)]
        print(f"  round {number + 1}: ours {said[0]}, HFLM {said[1]}", flush=True)
    clock, worked = (
        median(theirs) / median(own)
        for theirs, own in zip(zip(*other, strict=True), zip(*mine, strict=True), strict=True)
    )
    print(f"  HFLM at {best} takes {clock:.2f} × as long, {worked:.2f} × in processor time")
    return (clock, worked), *difference(part, answers, expected)


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    dtype = getattr(torch, given.dtype)
    if given.model is None:
        tokenizer = QwenTokenizer().load(Corpus({}, {})).transformers()
        shape = SHAPES["B"] | {"num_hidden_layers": given.layers}
        plain, network, kernels = networks(shape, dtype, given.kernels)
    else:
        plain, network, kernels, tokenizer = pretrained(given.model, dtype, given.kernels)
    what = given.model or f"{given.layers} layers"
    print(f"{what}, {given.dtype}, threads: {given.threads}. Ours: {kernels}")
    ours = MarcoLM(network, tokenizer)

    def make(size: int) -> Any:
        return HFLM(pretrained=plain, tokenizer=tokenizer, batch_size=size, device="cpu")

    line, deltas, troubles = {}, {}, []
    for part in given.parts:
        _, most, ratio = PARTS[part]
        count = most // 4 if given.quick else most
        rounds = 1 if given.quick else given.rounds
        found, deltas[part], trouble = compare(part, ours, make, given.sizes, rounds, count)
        line[ratio], line[f"{ratio}_of_processor_time"] = found
        if trouble is not None:
            troubles.append(f"{part}: {trouble}.")
        if given.profile:
            requests = requests_of(part, tokenizer, count)
            for name, seconds, share in profiled(lambda asked=requests: ask(ours, asked)):
                print(f"    {name:40} {seconds:7.2f} s {share:5.0%}")
    if "choices" in deltas:
        line["max_abs_delta_loglikelihood"] = deltas["choices"]
    if "rolling" in deltas:
        line["max_abs_delta_rolling"] = deltas["rolling"]
    print(json.dumps({key: float(f"{value:.3g}") for key, value in line.items()}))
    if troubles and given.dtype == "float32":
        sys.exit("\n".join(troubles))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4, help="of Qwen2-0.5B's 24: %(default)s")
    parser.add_argument("--model", help="a folder of transformers in place of the slice")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--kernels", default="auto", help="of our model: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of both: %(default)s")
    parser.add_argument("--sizes", default="1,4,16", help="HFLM's batch sizes: %(default)s")
    parser.add_argument("--parts", default=",".join(PARTS), help="of %(default)s")
    parser.add_argument("--profile", action="store_true", help="where our time goes")
    parser.add_argument("--quick", action="store_true", help="one round, few requests")
    given = parser.parse_args()
    given.sizes = [int(size) for size in given.sizes.split(",")]
    given.parts = given.parts.split(",")
    for name in given.parts:
        if name not in PARTS:
            hint = nearest(name, PARTS)
            sys.exit(f"--parts: {name!r} is not known.{hint} There are {', '.join(PARTS)}.")
    if min(given.rounds, given.layers, given.threads, *given.sizes) < 1:
        sys.exit("--rounds, --layers, --threads and --sizes must be at least 1.")
    return given


if __name__ == "__main__":
    main()
