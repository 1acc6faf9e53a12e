from __future__ import annotations

from pathlib import Path

import pytest
from support import FAST, last, train


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tokenizers are trained once for all runs of a worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARCO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Path:
    """The folder of a whole small run that logs every step, with W&B offline."""
    folder = tmp_path_factory.mktemp("finished")
    every = ["callbacks.language_metrics.every_n_steps=1", "callbacks.throughput.every_n_steps=1"]
    options = [o for o in FAST if o not in ("logger=none", "callbacks.samples=null")]
    done = train(folder, *options, *every, "tokens=10240", "tags=[test]")
    assert done.returncode == 0, done.stderr
    (last(folder) / "stdout.txt").write_text(done.stdout)
    return last(folder)
