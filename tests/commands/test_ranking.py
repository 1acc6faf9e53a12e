from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_tags import Tags
from swept_runs import write_point

from marco.commands import main
from marco.evaluation.ranking import report
from marco.evaluation.ranking.report import report_sweep
from marco.tracking.console import console

LANGUAGES = ("eng", "swh", "tha")


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The console of the process keeps the width that it was made with."""
    monkeypatch.setenv("COLUMNS", "100")
    console.cache_clear()
    yield
    console.cache_clear()


def swept(folder: Path, items: int = 60, unfinished: bool = True) -> Path:
    """Two mixes × two learning rates × two seeds; natural at 0.1 is best, but for Thai."""
    generator = np.random.default_rng(0)
    hard = generator.random((3, items))
    number = 0
    for mix, lr in (("uniform", 0.1), ("uniform", 1), ("<b>natural", 0.1), ("<b>natural", 1)):
        for seed in (1, 2):
            easy = 0.3 + 0.3 * (mix != "uniform") + 0.2 * (lr == 0.1)
            gains = (0.0, 0.0, -0.4 if (mix, lr) == ("<b>natural", 0.1) else 0.0)
            values = {
                code: (hard[place] + generator.normal(0, 0.05, items) < easy + gains[place]) * 1.0
                for place, code in enumerate(LANGUAGES)
            }
            write_point(
                folder / str(number),
                [f"mix='{mix}'", f"optimizer.lr={lr}", f"seed={seed}", "name='a b'"],
                None if unfinished and number == 1 else values,
                {"seed": seed, "optimizer": {"lr": lr}, "mix": {"kind": mix}},
            )
            number += 1
    (folder / "multirun.yaml").write_text("")
    return folder


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_in_the_terminal_as_csv_and_as_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = swept(tmp_path / "x-sweep")
    assert main(["compare", "--sweep", str(folder)]) == 0
    shown = capsys.readouterr().out
    command = next(line for line in shown.splitlines() if line.startswith("python train.py"))
    assert shlex.split(command)[2:] == ["mix='<b>natural'", "optimizer.lr=0.1", "name='a b'"]
    assert max(len(line) for line in shown.splitlines() if "sweep.html" not in line) <= 100
    assert re.search(r"1 +'<b>natural' +0\.1 +0\.\d+±0\.\d+ +2", shown)
    assert re.search(r"uniform' +0\.1 .* 1 of 2 ", shown)
    assert re.search(r"Not ranked: 1\s+run +why\s+─+\s+1 +not finished", shown)

    found = lines(folder)
    assert [line["rank"] for line in found] == ["1", "2", "3", "4", ""]
    assert (found[0]["mix"], found[0]["optimizer.lr"]) == ("'<b>natural'", "0.1")
    assert found[0]["difference"] == ""
    for line in found[1:4]:
        change = float(line["value"]) - float(found[0]["value"])
        assert float(line["difference"]) == pytest.approx(change)
        assert float(line["low"]) < change < float(line["high"])
    assert found[3]["verdict"] == "worse"
    assert (found[4]["folders"], found[4]["not_ranked"]) == ("1", "not finished")

    page = (folder / "sweep.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert (tags.open, tags.fetched) == ([], [])
    assert "<b>" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<polyline") == 4
    assert page.count("<circle") - page.count('<svg class="interval') == 7  # one of each run
    assert "The first is the best in 2 of 3 languages." in page


def test_another_metric_language_and_place(tmp_path: Path) -> None:
    folder = swept(tmp_path / "x-sweep")
    output = tmp_path / "out"
    asked = ["metric=acc", "task=quiz", "language=th", f"output={output}"]
    assert main(["compare", f"sweep={folder}", *asked]) == 0
    (made,) = output.iterdir()
    assert {line["languages"] for line in lines(made)[:4]} == {"tha"}
    assert (lines(made)[0]["mix"], lines(made)[0]["optimizer.lr"]) == ("'<b>natural'", "1")
    assert not (folder / "sweep.csv").exists()


def test_plain_runs_and_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    swept(tmp_path / "a", unfinished=False)
    (tmp_path / "a" / "multirun.yaml").unlink()
    one, other = tmp_path / "a" / "0", tmp_path / "a" / "4"
    assert main(["compare", "--sweep", str(one), str(other)]) == 0
    (made,) = (tmp_path / "comparisons").iterdir()
    assert [line["folders"] for line in lines(made)] == ["4", "0"]


def test_other_items_are_ranked_without_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = swept(tmp_path / "x-sweep", unfinished=False)
    short = swept(tmp_path / "short", items=40, unfinished=False)
    (folder / "7").rename(tmp_path / "away")
    (short / "7").rename(folder / "7")
    assert main(["compare", "--sweep", str(folder)]) == 0
    assert "No intervals, the items differ: quiz · eng: 60 items" in capsys.readouterr().out
    found = lines(folder)
    assert len(found) == 4
    assert {line["low"] for line in found} == {""}
    assert float(found[1]["difference"]) < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a folder"),
        (["nowhere"], "no such folder"),
        (["{empty}"], "neither a run nor a sweep"),
        (["{sweep}", "metric=bleu"], "metric=bleu was not measured. There are quiz, acc."),
        (["{sweep}", "task=quizz"], "Did you mean 'quiz'?"),
        (["{sweep}", "language=yor"], "language=yor was not measured. There are eng, swh, tha."),
        (["{sweep}", "language=swahilli"], "swahilli"),
        (["{sweep}", "metrik=acc"], "Did you mean 'metric'?"),
        (["{sweep}", "--all"], "no such option"),
        (["{sweep}", "step=7"], "no evaluation of step 7"),
        (["{sweep}", "level=5"], "between 0 and 1"),
        (["{sweep}", "output={file}"], "cannot be written to"),
    ],
)
def test_mistakes_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    names = {name: str(tmp_path / name) for name in ("sweep", "empty", "file")}
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    swept(tmp_path / "sweep")
    words = [argument.format(**names) for argument in arguments]
    assert main(["compare", "--sweep", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_end_of_a_sweep_never_raises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report_sweep(swept(tmp_path / "x-sweep"))
    assert "python train.py" in capsys.readouterr().out
    assert (tmp_path / "x-sweep" / "sweep.html").is_file()
    report_sweep(tmp_path / "nowhere")
    assert "not ranked" in capsys.readouterr().out
    for number in range(8):
        (tmp_path / "x-sweep" / str(number) / "summary.json").unlink(missing_ok=True)
    report_sweep(tmp_path / "x-sweep")
    assert "not ranked: None of 8 runs has a result: 0: not finished" in capsys.readouterr().out
    (tmp_path / "x-sweep" / "0" / "overrides.txt").write_bytes(b"\xff")
    report_sweep(tmp_path / "x-sweep")
    assert "0: it cannot be read: 'utf-8' codec" in capsys.readouterr().out
    monkeypatch.setattr(report, "build_ranking", lambda folders: 1 / 0)
    report_sweep(tmp_path / "x-sweep")
    assert "could not be ranked: ZeroDivisionError" in capsys.readouterr().out
