"""The roofline bench as a user starts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from bench import roofline
from bench.product_traffic import report
from marco.kernels.chips import CHIPS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.roofline", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_one_model_on_two_chips() -> None:
    done = run("--models", "0.5b", "--chips", "h100,h200", "--rows", "1", "--length", "512")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["steps"]) == {"0.5b h100", "0.5b h200"}
    for step in found["steps"].values():
        assert step["ratio"] == pytest.approx(step["unfused_seconds"] / step["seconds"])
        assert step["tokens_per_second"] == pytest.approx(512 / step["seconds"])
    # A norm moves memory only: the chips differ in their bandwidth.
    norm = found["ops"]["rms_norm"]
    # x, y, dy, x again, dx; the weight twice, and its gradient.
    assert norm["0.5b h100"]["bytes"] == 2 * 896 * (5 * 512 + 3)
    assert norm["0.5b h100"]["unfused_bytes"] > 5 * norm["0.5b h100"]["bytes"]
    assert norm["0.5b h100"]["seconds"] / norm["0.5b h200"]["seconds"] == pytest.approx(4.8 / 3.35)
    # The same bytes as bench.kernel_traffic's, and a loss launch by launch: they differ by chip.
    loss = found["ops"]["linear_cross_entropy"]["0.5b h100"]
    chip = CHIPS["h100"]
    logged = found["ops"]["linear_log_probs"]["0.5b h100"]
    assert loss["bytes"] == report("linear_cross_entropy", "0.5b", 512, chip, "ours")["moved"]
    assert loss["flops"] == logged["flops"] == 4 * 2 * 512 * 896 * 151_936
    assert loss["unfused_flops"] == 3 * 2 * 512 * 896 * 151_936
    assert found["ops"]["linear_distillation, js"]["0.5b h100"]["ratio"] > 1
    # q, y, dy, y, q, dq of 14 heads, and k, v twice, dk, dv of two, each 64 wide.
    attention = found["ops"]["attention"]["0.5b h100"]
    assert attention["bytes"] == 2 * 512 * 64 * (6 * 14 + 6 * 2)
    # Two products and five, half of the scores hidden; whole, two and four.
    assert attention["flops"] == 7 * 512**2 * 14 * 64
    assert attention["unfused_flops"] == 6 * 2 * 512**2 * 14 * 64
    # Scores are written and read at least thrice in each pass.
    assert attention["unfused_bytes"] > 2 * 6 * 2 * 512**2 * 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chips", "h10"], "Did you mean 'h100'?"),
        (["--models", "8b"], "There are 0.5b, 1.5b, 7b, 72b."),
        (["--matrix-efficiency", "0"], "between 0 and 1"),
        (["--length", "0"], "at least 1"),
    ],
)
def test_what_is_not_known(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["roofline", *arguments])
    with pytest.raises(SystemExit, match=re.escape(message)):
        roofline.main()
