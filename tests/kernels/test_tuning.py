"""Choosing blocks: what is measured, kept, and taken up again; every candidate is right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.truth import assert_as_good_as_torch
from torch import Tensor

from marco.kernels import spaces, tuning, tuning_file
from marco.kernels.add_rms_norm import add_rms_norm, add_rms_norm_naive
from marco.kernels.chips import CHIPS
from marco.kernels.device import Device, assuming, device_of
from marco.kernels.launches import LAUNCHES
from marco.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_naive
from marco.kernels.linear_distillation import linear_distillation, linear_distillation_naive
from marco.kernels.rms_norm import rms_norm, rms_norm_naive
from marco.kernels.rope import rope, rope_naive
from marco.kernels.swiglu import swiglu, swiglu_naive

SPACE = ({"block": 1}, {"block": 2}, {"block": 3})
X = torch.ones(3)


@pytest.fixture(autouse=True)
def tuning_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path))
    monkeypatch.setattr(tuning, "_found", {})
    tuning.set_autotune("on")
    yield
    tuning.set_autotune("off")


class Clock:
    """Times candidates by a table, and remembers which it was asked about."""

    def __init__(self, *milliseconds: float) -> None:
        self.milliseconds = milliseconds
        self.asked: list[int] = []

    def run(self, options: spaces.Options) -> None:
        LAUNCHES["measured"] += 1
        self.asked.append(options["block"])

    def time(self, run: Callable[[], Any]) -> float:
        run()
        taken = self.milliseconds[self.asked[-1] - 1]
        if taken == -1:
            raise triton.runtime.errors.OutOfResources(2, 1, "shared memory")
        if taken == -2:
            raise RuntimeError("the compiler gave up")
        return taken

    def choose(self, sizes: tuple[int, ...] = (100, 7), x: Tensor = X) -> spaces.Options:
        return tuning.choose("op", SPACE, x, sizes, self.run, self.time)


def test_the_fastest_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = LAUNCHES.copy()
    clock = Clock(3, 1, 2)
    assert clock.choose() == {"block": 2}
    assert clock.asked == [1, 2, 3]
    assert before == LAUNCHES
    (path,) = tmp_path.rglob("*.json")
    assert path.parent.name == "tuning"
    for part in ("h100", triton.__version__, torch.__version__):
        assert part in path.name
    assert json.loads(path.read_text()) == {"op float32 128×8": {"block": 2}}
    # Another process: the file alone knows.
    monkeypatch.setattr(tuning, "_found", {})
    assert Clock().choose() == {"block": 2}


def test_a_class_is_op_type_and_powers_of_two() -> None:
    assert Clock(3, 1, 2).choose((100, 7)) == {"block": 2}
    assert Clock().choose((65, 8)) == {"block": 2}
    assert Clock(1, 2, 3).choose((129, 8)) == {"block": 1}
    assert Clock(2, 3, 1).choose(x=X.half()) == {"block": 3}


def test_each_gpu_and_version_has_its_own(tmp_path: Path) -> None:
    Clock(3, 1, 2).choose()
    with assuming(CHIPS["mi300x"]):
        assert Clock(3, 2, 1).choose() == {"block": 3}
    assert len(list(tmp_path.rglob("*.json"))) == 2


def test_what_does_not_fit_is_passed_over() -> None:
    assert Clock(-1, 5, -2).choose() == {"block": 2}
    assert Clock(-1, -1, -2).choose((5,)) == {"block": 1}


def test_off_takes_the_first_and_measures_nothing(tmp_path: Path) -> None:
    tuning.set_autotune("off")
    clock = Clock(3, 1, 2)
    assert clock.choose() == {"block": 1}
    assert not clock.asked
    assert not list(tmp_path.iterdir())


def test_the_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = tuning_file.read, []
    monkeypatch.setattr(tuning_file, "read", lambda path: times.append(path) or read(path))
    Clock(3, 1, 2).choose()
    before = len(times)
    for _ in range(5):
        Clock().choose()
    assert len(times) == before


def test_an_edited_kernel_is_tuned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(tuning_file.__file__).parent, tmp_path / "kernels")
    monkeypatch.setattr(tuning_file, "__file__", str(tmp_path / "kernels" / "tuning_file.py"))
    Clock(3, 1, 2).choose()
    assert Clock().choose() == {"block": 2}
    kernel = tmp_path / "kernels" / "swiglu.py"
    kernel.write_text(kernel.read_text().replace("b_gate / (1.0", "b_gate / (2.0"))
    tuning_file.source_hash.cache_clear()  # as in another process
    assert Clock(3, 2, 1).choose() == {"block": 3}


RANK = """
import sys, time
from pathlib import Path
import torch
from marco.kernels import tuning

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
tuning.set_autotune("on")
timed = []

def run(options):
    timed.append(options["block"])

def time_it(run):
    run()
    (folder / "busy").touch()
    while not (folder / "both").exists():  # until the other rank is about to choose
        time.sleep(0.01)
    time.sleep(0.2)
    return abs(timed[-1] - 2 - rank)  # rank 0 finds 2 the fastest, rank 1 finds 3

if rank == 1:
    while not (folder / "busy").exists():
        time.sleep(0.01)
    (folder / "both").touch()
space = [{"block": block} for block in (1, 2, 3)]
print(tuning.choose("op", space, torch.ones(1), (9,), run, time_it)["block"], len(timed))
"""


def test_one_rank_measures_for_all(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    try:
        said = [rank.communicate(timeout=120)[0].split() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert said == [["2", "3"], ["2", "0"]]


LOCKS = """
import fcntl, sys
file = open(sys.argv[1], "wb")
fcntl.lockf(file, fcntl.LOCK_EX)  # every class
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_process_that_never_ends_its_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tuning_file, "PATIENCE", 0.1)
    path = tuning_file.tuning_file(device_of(X))
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", LOCKS, str(path.with_suffix(".lock"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        clock = Clock(3, 1, 2)
        assert clock.choose() == {"block": 1}
        assert "another process has been tuning op float32 128×8" in caplog.text
        other.kill()
    # It is not asked again, nor written down; a class that nobody tunes is.
    assert clock.choose() == {"block": 1}
    assert not clock.asked
    assert not path.exists()
    assert clock.choose((5,)) == {"block": 2}


def test_another_word_than_on_and_off() -> None:
    with pytest.raises(ValueError, match="on, off"):
        tuning.set_autotune("bogus")


def test_no_gpu_no_measuring() -> None:
    clock = Clock(3, 1, 2)
    assert tuning.choose("op", SPACE, X, (1,), clock.run) == {"block": 1}
    assert not clock.asked


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "[" * 100_000, '{"op float32 128×8": {"block": 9}}']
)
def test_a_broken_or_old_file_is_measured_anew(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(3, 1, 2).choose()
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    monkeypatch.setattr(tuning, "_found", {})
    assert Clock(3, 2, 1).choose() == {"block": 3}
    assert json.loads(path.read_text())["op float32 128×8"] == {"block": 3}


def test_what_others_found_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(3, 1, 2).choose((1,))
    mine = dict(tuning._found)
    monkeypatch.setattr(tuning, "_found", {})
    Clock(3, 1, 2).choose((2,))
    monkeypatch.setattr(tuning, "_found", mine)
    Clock(3, 1, 2).choose((4,))
    (path,) = tmp_path.rglob("*.json")
    assert len(json.loads(path.read_text())) == 3


def test_a_folder_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "file"))
    assert Clock(3, 1, 2).choose() == {"block": 2}
    assert Clock().choose() == {"block": 2}


def leaf(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def cases() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]]:
    x, weight = leaf(9, 130), leaf(130, seed=1)
    angles = torch.rand(1, 9, 16).bfloat16().repeat(1, 1, 2)
    targets = torch.arange(0, 270, 2).masked_fill(torch.arange(135) % 3 == 0, -100)
    hidden, head = leaf(135, 40), leaf(300, 40, seed=2)
    teacher = [leaf(135, 40, seed=3).detach(), leaf(300, 40, seed=4).detach()]
    return {
        "rms_norm": (
            lambda x, w: rms_norm(x, w, 1e-6),
            lambda x, w: rms_norm_naive(x, w, 1e-6),
            [x, weight],
        ),
        "add_rms_norm": (
            lambda x, r, w: add_rms_norm(x, r, w, 1e-6),
            lambda x, r, w: add_rms_norm_naive(x, r, w, 1e-6),
            [x, leaf(9, 130, seed=5), weight],
        ),
        "rope": (rope, rope_naive, [leaf(1, 9, 4, 32), leaf(1, 9, 2, 32, seed=1), angles, angles]),
        "swiglu": (swiglu, swiglu_naive, [leaf(3, 2500), leaf(3, 2500, seed=1)]),
        "linear_cross_entropy": (
            lambda h, w, t: linear_cross_entropy(h, w, t, backend="triton"),
            linear_cross_entropy_naive,
            [hidden, head, targets],
        ),
        "linear_distillation": (
            lambda *x: linear_distillation(*x, backend="triton"),
            linear_distillation_naive,
            [hidden, head, *teacher],
        ),
    }


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("chip", ["h100", "mi300x"])
@pytest.mark.parametrize("op", list(cases()))
def test_every_candidate_is_right(op: str, chip: str, number: int) -> None:
    """Candidate 0 is what the ops' own tests run."""
    ours, naive, inputs = cases()[op]
    with assuming(CHIPS[chip]), tuning.preferring(number):
        assert_as_good_as_torch(ours, naive, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("hidden", [64, 896, 3584, 8192])
@pytest.mark.parametrize("chip", list(CHIPS))
def test_a_lane_loads_16_bytes(chip: str, hidden: int, dtype: torch.dtype) -> None:
    """Warps of NVIDIA's have 32 lanes, of AMD's 64."""
    x = torch.empty(1, hidden, dtype=dtype)
    with assuming(CHIPS[chip]):
        norms = [*spaces.norm_forward(x, None), *spaces.norm_backward(x, x, x)]
        tiles = [(o["block_rows"] * o["block_hidden"], o["num_warps"]) for o in norms]
        tiles += [(o["block"], o["num_warps"]) for o in spaces.swiglu(x)]
    for elements, warps in tiles:
        assert elements * x.element_size() >= 16 * warps * CHIPS[chip].warp
        assert warps * CHIPS[chip].warp >= 128


@pytest.mark.parametrize(("dtype", "stages"), [(torch.bfloat16, 2), (torch.float32, 1)])
def test_a_norms_pipeline_fits_the_chip(dtype: torch.dtype, stages: int) -> None:
    """Tiles of 8,192 values of three operands, 48 or 96 KiB; an MI300X has 64, an H100 227."""
    row = torch.empty(1, 8192, dtype=dtype)
    with assuming(CHIPS["mi300x"]):
        assert max(o["stages"] for o in spaces.norm_backward(row, row, row)) == stages
    with assuming(CHIPS["h100"]):
        assert max(o["stages"] for o in spaces.norm_backward(row, row, row)) == 3


def test_candidates_fit_the_chip() -> None:
    """A card of 99 KiB (sm_86) has fewer of them, and never none."""
    x = torch.empty(0, dtype=torch.bfloat16)
    small = Device("small", 86, 84, 101_376, 32)
    for chip in CHIPS.values():
        with assuming(chip):
            assert 1 < len(spaces.products("linear_cross_entropy_bwd", x)) <= 4
    assert spaces.shared_bytes((128, 128, 64), 3, 2, amd=False) == 98_304 <= small.shared
    assert spaces.shared_bytes((128, 256, 64), 3, 2, amd=False) == 147_456 > small.shared
    kept = spaces._fitting(
        spaces._products([(128, 256, 64, 8, 3), (128, 128, 64, 8, 3)]),
        ("tile_m", "tile_n", "tile_k"),
        x,
        small,
    )
    assert [options["tile_n"] for options in kept] == [128]
