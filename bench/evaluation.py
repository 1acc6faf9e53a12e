"""The scorer and lm-eval's own model for transformers, on the same requests, in alternation.

    python -m bench.evaluation [--rounds 3] [--layers 4] [--dtype float32] [--threads 1]
        [--kernels auto] [--sizes 1,4,16] [--parts choices,rolling,generation] [--profile]

The model is a slice of Qwen2-0.5B with all of its 151,936 rows and random weights, the text the
UDHR. `choices`: items of four options of 5 to 20 tokens after a context of 200. `rolling`: whole
texts of 50 to 400 tokens. `generation`: 64 tokens after prompts of 20 to 200. Ours is `MarcoLM`
as `marco evaluate` makes it: with our kernels in the model (`--kernels`: which); lm-eval's `HFLM`
has the same weights in a plain model, and tries every batch size of `--sizes` once before the
rounds, each on all requests: the fastest stays. Then both answer in turn, `--rounds` times, in one
process and one type, on `--threads` threads; ratios are of medians. `--profile` adds where ours
spends its time. It fails where answers differ. The last line is JSON.
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
from transformers import AutoModelForCausalLM, Qwen2Config

from bench.train_step_contender import SHAPES
from marco.data import Corpus
from marco.data.udhr import Udhr
from marco.evaluation.lm.model import MarcoLM
from marco.models.kernels import Kernels, install
from marco.tokenizers.qwen2 import QwenTokenizer

PARTS = {
    "choices": "loglikelihood",
    "rolling": "loglikelihood_rolling",
    "generation": "generate_until",
}
LANGUAGES = ("eng", "swh", "deu", "cmn", "arb", "hin")
ITEMS, TEXTS, PROMPTS, NEW_TOKENS = 8, 12, 16, 64
#: Of log-likelihoods in fp32, in nats.
TOLERANCE = 1e-4


class Cutter:
    """Pieces of the UDHR of given lengths, no two from one place."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        corpus = Udhr(languages=list(LANGUAGES)).load()
        texts = [" ".join(each.text for each in corpus.train[code]) for code in LANGUAGES]
        self._tokens = [tokenizer(text, verbose=False)["input_ids"] for text in texts]
        self._at = [0] * len(texts)
        self._turn = 0

    def piece(self, length: int) -> str:
        """A text of about so many tokens, in the next language."""
        self._turn = (self._turn + 1) % len(self._tokens)
        tokens, start = self._tokens[self._turn], self._at[self._turn]
        if start + length > len(tokens):
            start = 0
        self._at[self._turn] = start + length
        return str(self._tokenizer.decode(tokens[start : start + length])).strip()


def requests_of(part: str, tokenizer: Any, few: int = 1) -> list[Instance]:
    """The requests of a part; `few` divides their number."""
    cut, generator = Cutter(tokenizer), np.random.default_rng(0)
    made: list[tuple[Any, ...]]
    if part == "choices":
        contexts = [cut.piece(200) for _ in range(ITEMS // few)]
        sizes = generator.integers(5, 21, (len(contexts), 4))
        made = [
            (context, f" {cut.piece(size)}")
            for context, row in zip(contexts, sizes.tolist(), strict=True)
            for size in row
        ]
    elif part == "rolling":
        made = [(cut.piece(n),) for n in generator.integers(50, 401, TEXTS // few).tolist()]
    else:
        how = {"until": ["\n\n\n"], "max_gen_toks": NEW_TOKENS}
        lengths = generator.integers(20, 201, PROMPTS // few).tolist()
        made = [(cut.piece(length), how) for length in lengths]
    return [Instance(PARTS[part], {}, each, n, ("t", n, 1)) for n, each in enumerate(made)]


def networks(layers: int, dtype: torch.dtype, kernels: str) -> tuple[Any, Any, str]:
    """Two models of equal weights, ours with its kernels, and a line about those."""
    sizes = {k: size for k, size in SHAPES["B"].items() if k not in ("rows", "length")}
    sizes["num_hidden_layers"] = layers
    torch.manual_seed(0)
    config = Qwen2Config(tie_word_embeddings=True, max_position_embeddings=2048, **sizes)
    plain, ours = (AutoModelForCausalLM.from_config(config, dtype=dtype).eval() for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    backend = Kernels(kernels).chosen("cpu")  # type: ignore[arg-type]
    return plain, ours, install(ours, backend)


def asked(lm: Any, requests: Sequence[Instance]) -> tuple[float, list[Any]]:
    """Seconds, and the responses."""
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        began = time.perf_counter()
        responses = getattr(lm, requests[0].request_type)(list(requests))
        return time.perf_counter() - began, responses


def delta(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference of log-likelihoods; infinite where a prediction differs."""
    if isinstance(ours[0], str):
        return 0.0 if list(ours) == list(theirs) else float("inf")
    if isinstance(ours[0], float):
        return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    pairs = list(zip(ours, theirs, strict=True))
    if any(a[1] != b[1] for a, b in pairs):
        return float("inf")
    return max(abs(a[0] - b[0]) for a, b in pairs)


def compare(
    part: str, ours: Any, make_theirs: Callable[[int], Any], given: argparse.Namespace
) -> dict[str, float]:
    """Seconds of both, lm-eval's at its best batch size, and how their answers differ."""
    requests = requests_of(part, ours.tokenizer, given.few)
    asked(ours, requests[:1])
    tried = {size: asked(make_theirs(size), requests)[0] for size in given.sizes}
    best = min(tried, key=tried.__getitem__)
    tries = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in tried.items())
    print(f"{part}: {len(requests)} requests; HFLM by batch size: {tries}", flush=True)
    theirs, seconds = make_theirs(best), ([], [])
    for number in range(given.rounds):
        for times, lm in zip(seconds, (ours, theirs), strict=True):
            took, responses = asked(lm, requests)
            times.append(took)
            if lm is ours:
                found = responses
        print(f"  round {number + 1}: ours {seconds[0][-1]:.2f} s, HFLM {seconds[1][-1]:.2f} s",
              flush=True)  # fmt: skip
    mine, other = map(median, seconds)
    print(f"  {other / mine:.2f} × (medians; HFLM's batch size {best})")
    return {"ours": mine, "theirs": other, "delta": delta(found, responses)}


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    tokenizer = QwenTokenizer().load(Corpus({}, {})).transformers()
    dtype = getattr(torch, given.dtype)
    plain, network, line = networks(given.layers, dtype, given.kernels)
    print(f"{given.layers} layers, {given.dtype}, {given.threads} thread(s). {line}")
    ours = MarcoLM(network, tokenizer)

    def make_theirs(size: int) -> Any:
        return HFLM(pretrained=plain, tokenizer=tokenizer, batch_size=size, device="cpu")

    found = {part: compare(part, ours, make_theirs, given) for part in given.parts}
    print(json.dumps({k: v for k, v in found.items()}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", default="auto")
    parser.add_argument("--sizes", default="1,4,16")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--few", type=int, default=1)
    given = parser.parse_args()
    given.sizes = [int(x) for x in given.sizes.split(",")]
    given.parts = given.parts.split(",")
    return given


if __name__ == "__main__":
    main()
