"""What share of the intervals of the worst five languages holds their true mean.

    python -m bench.worst_languages [--simulations 300] [--replicates 400]

29 languages of known accuracy are evaluated again and again, and aggregated by
`marco.evaluation.results.aggregates`. "holds": the share of the 95 % intervals of `worst_5`, and of
`languages` (the macro average) beside it, that hold the truth. "bias": what the five found worst
have less, on average, than the five that are. The last line is JSON. Printed by the command above
(40 s on one core):

| accuracies | items | bias | worst five hold | macro holds |
|---|---|---|---|---|
| .30 to .80 | 50 | -0.022 | 0.87 | 0.96 |
| .30 to .80 | 200 | -0.005 | 0.91 | 0.96 |
| .30 to .80 | 1000 | -0.001 | 0.93 | 0.96 |
| 19 × .25 to .40, 10 × .60 to .80 | 50 | -0.037 | 0.85 | 0.95 |
| 19 × .25 to .40, 10 × .60 to .80 | 200 | -0.011 | 0.90 | 0.93 |
| 19 × .25 to .40, 10 × .60 to .80 | 1000 | -0.002 | 0.90 | 0.93 |
| .48 to .52 | 50 | -0.086 | 0.53 | 0.95 |
| .48 to .52 | 200 | -0.037 | 0.72 | 0.95 |
| .48 to .52 | 1000 | -0.012 | 0.89 | 0.96 |
| all .50 | 50 | -0.102 | 0.35 | 0.96 |
| all .50 | 200 | -0.051 | 0.33 | 0.96 |
| all .50 | 1000 | -0.022 | 0.38 | 0.95 |
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from marco.evaluation.results.aggregates import WORST, aggregate
from marco.evaluation.results.samples import Sample
from marco.languages import MARCO_LANGUAGES

COUNT = len(MARCO_LANGUAGES)
WORLDS = {
    ".30 to .80": np.linspace(0.30, 0.80, COUNT),
    "19 × .25 to .40, 10 × .60 to .80": np.r_[
        np.linspace(0.25, 0.40, 19), np.linspace(0.60, 0.80, 10)
    ],
    ".48 to .52": np.linspace(0.48, 0.52, COUNT),
    "all .50": np.full(COUNT, 0.50),
}


def simulate(shares: np.ndarray, items: int, simulations: int, replicates: int) -> dict[str, float]:
    truth = {"worst_5": np.sort(shares)[:WORST].mean(), "languages": shares.mean()}
    held = dict.fromkeys(truth, 0)
    bias = 0.0
    for seed in range(simulations):
        generator = np.random.default_rng(seed)
        samples = {
            code: Sample((generator.random(items) < share).astype(float))
            for code, share in zip(MARCO_LANGUAGES, shares, strict=True)
        }
        for found in aggregate("simulated", "acc", samples, replicates=replicates, seed=seed):
            if found.over in truth:
                held[found.over] += found.low <= truth[found.over] <= found.high
                bias += (found.value - truth["worst_5"]) * (found.over == "worst_5")
    holds = {f"{over}_holds": count / simulations for over, count in held.items()}
    return {"bias": bias / simulations, **holds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=400)
    given = parser.parse_args()
    results = []
    for name, shares in WORLDS.items():
        for items in (50, 200, 1000):
            found = simulate(shares, items, given.simulations, given.replicates)
            results.append({"accuracies": name, "items": items, **found})
            print(
                f"| {name} | {items} | {found['bias']:.3f} "
                f"| {found['worst_5_holds']:.2f} | {found['languages_holds']:.2f} |",
                flush=True,
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
