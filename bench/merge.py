"""`marco merge` and mergekit on the same models: the largest difference, time, and memory.

    pip install mergekit==0.1.5
    python -m bench.merge [--model FOLDER] [--methods ties,slerp]

Three models are merged: a base (of `--model`, else a random Qwen2 of 39 million parameters), and
two that differ from it by noise, all in fp32. Each contender merges in a process of its own; time
is that of the merge and the writing, without imports; memory is the peak of anonymous memory above
what there was before. What DARE drops is random: mergekit is given our choice, by patching the one
function of it that draws. Of values of one magnitude TIES keeps the first: torch's sort, which
mergekit uses, takes any of them, so it is made stable.

The last line is JSON. It fails where a value differs by more than 2 · 10⁻⁶ of the largest value of
its tensor, which is rounding in fp32; for SLERP 10⁻⁵, since mergekit sums the products of the angle
in fp32 and we in fp64 (against the formula in fp64, of a tensor of 16 million values, mergekit is
4 · 10⁻⁶ off, and we 8 · 10⁻⁸).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config

from bench.anonymous import peak_above_start

METHODS = ("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties")
TOLERANCE = dict.fromkeys(METHODS, 2e-6) | {"slerp": 1e-5}
NOISE = 0.01
SEED = 7
DENSITY = 0.4
WEIGHTS = [0.7, 0.5]
SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 32000}


def make_models(folder: Path, model: str | None) -> list[Path]:
    """Write the base and two models that differ from it."""
    torch.manual_seed(0)
    if model is None:
        config = Qwen2Config(**SHAPE, **HEADS, tie_word_embeddings=True)
        network = AutoModelForCausalLM.from_config(config)
    else:
        network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    places = [folder / name for name in ("base", "a", "b")]
    network.save_pretrained(places[0])
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for place in places[1:]:
        with torch.no_grad():
            for name, tensor in network.named_parameters():
                tensor.copy_(weights[name] + NOISE * torch.randn_like(tensor))
        network.save_pretrained(place)
    return places


def inputs_of(method: str, places: list[Path]) -> tuple[Path | None, list[Path], list[float]]:
    """The base, the models, and the weights that a method is given."""
    base, *models = places
    if method == "linear":
        return None, models, WEIGHTS
    if method == "slerp":
        return base, models[:1], [0.3]
    return base, models, WEIGHTS


def ours(method: str, places: list[Path], output: Path) -> None:
    """Merge as the command does."""
    from marco.config.merge import MergeSettings
    from marco.training.merging import prepare

    base, models, weights = inputs_of(method, places)
    settings = MergeSettings(
        method=method,  # type: ignore[arg-type]
        base=None if base is None else str(base),
        models=[str(model) for model in models],
        weights=weights,
        density=DENSITY,
        normalize=None,
        scale=1.0,
        rescale="l1",
        seed=SEED,
        like=None,
        dtype=None,
        max_shard_size="5GB",
        output=output,
    )
    prepare(settings).write()


def theirs(method: str, places: list[Path], output: Path) -> None:
    """Merge as mergekit's command line does."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    base, models, weights = inputs_of(method, places)
    config: dict[str, Any] = {"merge_method": method, "dtype": "float32"}
    if base is not None:
        config["base_model"] = str(base)
    if method == "slerp":
        config["models"] = [{"model": str(place)} for place in (base, *models)]
        config["parameters"] = {"t": weights[0]}
    else:
        config["models"] = [
            {"model": str(model), "parameters": {"weight": weight, "density": DENSITY}}
            for model, weight in zip(models, weights, strict=True)
        ]
        if method in ("linear", "task_arithmetic"):
            for each in config["models"]:
                del each["parameters"]["density"]
    options = MergeOptions(quiet=True, copy_tokenizer=False, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(config), str(output), options)


def draw_as_we_do(places: list[Path]) -> None:
    """Let mergekit drop what we drop; it knows no names, so a difference is known by its bytes."""
    from mergekit import sparsify

    from marco.models.merging.merge import seed_of

    base, *models = [load_file(place / "model.safetensors") for place in places]
    seeds = {
        _digest(tensors[name] - base[name]): seed_of(SEED, number, name)
        for number, tensors in enumerate(models)
        for name in base
    }

    def bernoulli(delta: torch.Tensor, density: float, rescale_norm: Any = None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seeds[_digest(delta)])
        mask = torch.rand(delta.shape, generator=generator) < density
        kept: torch.Tensor = sparsify.rescaled_masked_tensor(delta, mask.float(), rescale_norm)
        return kept

    sparsify.bernoulli = bernoulli


def _digest(tensor: torch.Tensor) -> bytes:
    return hashlib.sha256(tensor.contiguous().numpy().data).digest()


def difference(one: Path, other: Path) -> float:
    """The largest difference of a value, over the largest magnitude in its tensor."""
    worst = 0.0
    with (
        safe_open(one / "model.safetensors", "pt") as first,
        safe_open(_single(other), "pt") as second,
    ):
        names = list(first.keys())
        if set(names) != set(second.keys()):
            raise SystemExit(f"other tensors: {set(names) ^ set(second.keys())}")
        for name in names:
            a, b = first.get_tensor(name).double(), second.get_tensor(name).double()
            worst = max(worst, float((a - b).abs().max() / b.abs().max()))
    return worst


def _single(folder: Path) -> Path:
    (file,) = folder.glob("*.safetensors")
    return file


def child(side: str, method: str, folder: Path) -> None:
    """Merge once, and print seconds and bytes."""
    places = [folder / name for name in ("base", "a", "b")]
    output = folder / f"{side}-{method}"
    # Imports are no part of what is timed; we check shapes against the model's class.
    importlib.import_module("transformers.models.qwen2.modeling_qwen2")
    importlib.import_module("marco.training.merging" if side == "ours" else "mergekit.merge")
    if side == "mergekit":
        torch.argsort = functools.partial(torch.argsort, stable=True)
        if method.startswith("dare"):
            draw_as_we_do(places)
    with peak_above_start() as peak:
        begin = time.perf_counter()
        (ours if side == "ours" else theirs)(method, places, output)
        seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "bytes": peak[0]}))


def run(side: str, method: str, folder: Path) -> dict[str, float]:
    """One merge in a process of its own."""
    command = [sys.executable, "-m", "bench.merge", "--child", side, method, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{side}, {method} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Merge by every method, print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a folder of transformers")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        side, method, folder = given.child
        child(side, method, Path(folder))
        return
    table = Table("method", "largest difference", "ours s", "mergekit s", "ours MB", "mergekit MB")
    lines: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_models(folder, given.model)
        for method in given.methods.split(","):
            mine, theirs = run("ours", method, folder), run("mergekit", method, folder)
            worst = difference(folder / f"ours-{method}", folder / f"mergekit-{method}")
            lines[method] = {
                "difference": worst,
                "ours_seconds": mine["seconds"],
                "mergekit_seconds": theirs["seconds"],
                "ours_megabytes": mine["bytes"] / 1e6,
                "mergekit_megabytes": theirs["bytes"] / 1e6,
            }
            shown = [f"{value:.3g}" for value in lines[method].values()]
            table.add_row(method, *shown)
    Console().print(table)
    print(json.dumps(lines))
    wrong = [
        method for method, line in lines.items() if not line["difference"] <= TOLERANCE[method]
    ]
    if wrong:
        sys.exit(f"not what mergekit gives: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
