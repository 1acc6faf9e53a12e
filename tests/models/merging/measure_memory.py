"""Merge the models whose folders are given, and print the peak of anonymous memory, in bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from bench.anonymous import peak_above_start
from marco.models.merging.merge import Merge
from marco.models.merging.methods import METHODS
from marco.models.merging.passes import How
from marco.models.tensors.weights import of_folder


def main() -> None:
    method, output, *folders = sys.argv[1:]
    weights = tuple(of_folder(Path(folder)) for folder in folders)
    models = len(weights) - 1
    how = How((1.0,) * models, (0.5,) * models, True, 1.0, "l1", (), 0)
    torch.set_num_threads(1)
    with peak_above_start() as peak:
        Merge(METHODS[method], weights, how, 0, None, "5GB").write(Path(output))
    print(peak[0])


if __name__ == "__main__":
    main()
