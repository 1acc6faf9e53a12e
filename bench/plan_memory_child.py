"""One process of `bench.plan_memory`: a run, or the imports of one; its last line is bytes.

python bench/plan_memory_child.py FOLDER run|imports [overrides …]
"""

from __future__ import annotations

import contextlib
import importlib
import json
import runpy
import sys
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "train.py"


def resident(key: str) -> int:
    """VmRSS now, VmHWM at the most so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def run(names: Path, overrides: list[str]) -> int:
    """Train as `train.py` does, and leave the names of all modules."""
    sys.argv = [str(TRAIN), *overrides]
    runpy.run_path(str(TRAIN), run_name="__main__")
    names.write_text(json.dumps(list(sys.modules)))
    return resident("VmHWM")


def imports(names: Path) -> int:
    """Import these, in their order."""
    for name in json.loads(names.read_text()):
        # Some are made while a package runs, and are nothing that could be imported.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return resident("VmRSS")


def main() -> None:
    """Print the bytes."""
    folder, kind, *overrides = sys.argv[1:]
    names = Path(folder) / "modules.json"
    print(run(names, overrides) if kind == "run" else imports(names))


if __name__ == "__main__":
    main()
