"""`marco plan` as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from marco.commands import main
from marco.planning.options import PlanOptions, split_arguments

VIRTUAL = ("experiment=marco/stage1_1_5b",)
SMALL = ("data.languages=[eng,swh]", "tokens=8192", "logger=none", "device=cpu")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["plan", *arguments]) == 0
    return capsys.readouterr().out


def test_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("output=json", "device=a100", "devices=512", "mfu=0.5", "price_per_hour=2")
    plan = json.loads(said(capsys, *VIRTUAL, *arguments))
    keys = {"stages", "languages", "parameters", "flops", "memory", "time", "warnings"}
    assert keys <= set(plan)
    time = plan["time"]
    assert time["hours"] == pytest.approx(plan["flops"] / (512 * 312e12 * 0.5) / 3600)
    assert time["cost"] == pytest.approx(2 * 512 * time["hours"])
    assert plan["languages"]["eng"]["fertility"] is None
    assert any(line.startswith("MFU 50% of the dense peak (given)") for line in plan["assumptions"])


def test_text_fits_and_says_what_is_odd(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, *SMALL)
    assert "Parameters 394,368" in shown
    assert "swh" in shown
    assert "Assumptions:" in shown
    assert max(map(len, said(capsys, *VIRTUAL).splitlines())) <= 100
    assert "do not fit" in said(capsys, *VIRTUAL, "trainer.strategy=ddp", "model=qwen2_7b")


def test_files_need_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a" / "plan"
    shown = said(capsys, *SMALL, f"save={folder}", "output=json")
    assert json.loads((folder / "plan.json").read_text()) == json.loads(shown)
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "plan.html").read_text()
    assert len(page) < 1_000_000
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert main(["plan", *SMALL, f"save={folder / 'plan.json'}"]) == 2
    assert "names a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("device=h10", "Did you mean 'h100'?"),
        ("devices=0", "at least 1"),
        ("devices=3", "batch.sequences=8 should be a multiple of trainer.devices=3"),
        ("mfu=1.5", "0 < mfu"),
        ("mfu=high", "mfu should be a number"),
        ("output=yaml", "output"),
        ("resume=last", "a plan is of a whole run"),
        ("save=/dev/null/plan", "cannot be written to"),
        ("price_per_hour=-1", "above 0"),
        ("optimizer.lrr=1", "optimizer.lr"),
        ("experiment=marco/stage3_7b", "stage3_7b"),
    ],
)
def test_mistakes(argument: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", argument]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert expected in shown.err


def test_the_plans_keys_are_its_own() -> None:
    options, rest = split_arguments(["devices=4", "tokens=10", "save=a/b", "trainer.devices=2"])
    assert options == PlanOptions(devices=4, save=Path("a/b"))
    assert rest == ["tokens=10", "trainer.devices=2"]
