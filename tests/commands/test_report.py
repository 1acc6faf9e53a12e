from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from marco.commands import main
from marco.training import finish


def test_it_writes_the_pages_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_run(tmp_path / "udhr_tiny" / name) for name in ("a", "b")]
    assert main(["report", *map(str, folders), "anchors=Arabic,swh"]) == 0
    said = capsys.readouterr().out
    for folder in folders:
        assert f"Report: {folder / 'report.html'}" in said
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert "<th>Arabic</th><th>Swahili</th>" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "needs a run"),
        (["{run}", "ankors=eng"], "no such key. Did you mean 'anchors'?"),
        (["{run}", "anchors=xyz"], "Unknown language 'xyz'"),
        (["{run}/nowhere"], "is not a run's folder"),
    ],
)
def test_mistakes_are_said(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "udhr_tiny" / "a")
    assert main(["report", *(word.format(run=run) for word in given)]) == 2
    assert said in capsys.readouterr().err


def test_a_run_does_not_end_by_a_fault_of_its_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_run(tmp_path / "udhr_tiny" / "a")
    (folder / "config.yaml").unlink()
    finish.report(folder)
    assert "The report could not be written: DataError" in caplog.text
