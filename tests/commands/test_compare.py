from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from compared_runs import write_run
from page_tags import Tags

from marco.commands import main

LANGUAGES = ("eng", "swh", "tha")


def made(folder: Path, name: str, seed: int, lr: float, gain: float = 0.0, items: int = 200) -> str:
    generator = np.random.default_rng([seed, int(lr * 100)])
    chances = np.random.default_rng(0).beta(2, 2, (3, items))
    chances[1] = np.clip(chances[1] + gain, 0, 1)
    right = (generator.random((3, items)) < chances) * 1.0
    config = {"seed": seed, "optimizer": {"lr": lr}, "name": "x", "shots": 0}
    tokens = {"eng": 1000, "swh": 2000 if gain else 500}
    losses = {t: 5 - t / 1000 for t in range(100, 1001, 50)}
    return str(
        write_run(folder / name, dict(zip(LANGUAGES, right, strict=True)), config, losses, tokens)
    )


def compared(tmp_path: Path, *arguments: str) -> tuple[int, Path]:
    output = tmp_path / "out"
    code = main(["compare", *arguments, f"output={output}"])
    (folder,) = output.iterdir()
    return code, folder


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_two_runs_in_the_terminal_as_csv_and_as_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = made(tmp_path, "a", 1, 0.1), made(tmp_path, "b<i>", 1, 0.2, gain=0.3)
    code, folder = compared(tmp_path, *runs)
    shown = capsys.readouterr().out
    assert code == 0
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert re.search(r"optimizer\.lr +0\.1 +0\.2", shown)
    assert re.search(r"Swahili +500 \(0\.50\) +2k \(2\.00\)", shown)
    assert re.search(r"1k tokens +4\.0", shown)
    assert "in 1 of 3 languages, p corrected (Holm)" in " ".join(shown.split())
    assert re.search(r"Swahili +swh .*\+0\.\d+ +\[\+0\.", shown)
    assert "only seeds say" in " ".join(shown.split())

    found = lines(folder / "differences.csv")
    assert [line["language"] for line in found] == ["", *LANGUAGES]
    assert [line["verdict"] for line in found[1:]] == ["", "better", ""]
    swahili = found[2]
    change = float(swahili["after"]) - float(swahili["before"])
    assert float(swahili["difference"]) == pytest.approx(change)
    assert float(swahili["improved"]) - float(swahili["worse"]) == pytest.approx(200 * change)
    assert swahili["stderr_before"] == ""
    assert [line["key"] for line in lines(folder / "config.csv")] == ["optimizer.lr"]
    assert {line["language"] for line in lines(folder / "ledger.csv")} == {"swh"}
    assert len(lines(folder / "loss.csv")) == 10
    assert lines(folder / "mismatches.csv") == []

    page = (folder / "compare.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert (tags.open, tags.fetched) == ([], [])
    assert "b&lt;i&gt;" in page
    assert "b<i>" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count('<svg class="interval better"') == 2  # Swahili, and the mean


def test_seeds_are_grouped_by_their_configs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        made(tmp_path, f"{lr}-{seed}", seed, lr, gain=lr) for lr in (0.0, 0.4) for seed in (1, 2, 3)
    ]
    _, folder = compared(tmp_path, *runs)
    shown = capsys.readouterr().out
    assert "A3" in shown
    assert "B3" in shown
    found = {line["language"]: line for line in lines(folder / "differences.csv")}
    assert found["swh"]["method"] == "seeds"
    assert (found["swh"]["runs_before"], found["swh"]["runs_after"]) == ("3", "3")
    assert [code for code, line in found.items() if line["verdict"]] == ["", "swh"]
    assert float(found["swh"]["stderr_before"]) > 0


def test_runs_named_together_are_a_group(tmp_path: Path) -> None:
    runs = [made(tmp_path, str(lr), 1, lr) for lr in (0.1, 0.2, 0.3)]
    _, folder = compared(tmp_path, f"{runs[0]},{runs[1]}", runs[2])
    (line, *_) = lines(folder / "differences.csv")
    assert (line["runs_before"], line["runs_after"]) == ("2", "1")


def test_another_seed_alone_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = made(tmp_path, "a", 1, 0.1), made(tmp_path, "b", 2, 0.1)
    code, folder = compared(tmp_path, *runs)
    assert code == 0
    assert "differ by their seed alone" in capsys.readouterr().out
    assert lines(folder / "differences.csv") == []
    code = main(["compare", *runs, "seeds=apart", "show=all", f"output={tmp_path / 'apart'}"])
    shown = capsys.readouterr().out
    assert code == 0
    assert "in 3 of 3 languages" in " ".join(shown.split())


def test_other_items_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = made(tmp_path, "a", 1, 0.1), made(tmp_path, "b", 1, 0.2, items=150)
    code, folder = compared(tmp_path, *runs)
    shown = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert "Not compared, the items differ: quiz · swh: 200 items in" in shown
    assert "150 in both" in shown
    assert "there is nothing to compare" in shown
    assert lines(folder / "differences.csv") == []
    assert [line["language"] for line in lines(folder / "mismatches.csv")] == list(LANGUAGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs two runs or more"),
        (["{run}"], "needs two runs or more"),
        (["{run}", "{run}"], "named twice"),
        (["{run}", "nowhere"], "there is no such run"),
        (["{run}", "{other}", "corection=bh"], "Did you mean 'correction'?"),
        (["{run}", "{other}", "correction=bonferroni"], "holm or bh"),
        (["{run}", "{other}", "level=2"], "between 0 and 1"),
        (["{run}", "{other}", "step=first"], "or last"),
        (["{run}", "{other}", "step=7"], "it has 10"),
        (["{run}", "{other}", "output={file}"], "cannot be written to"),
    ],
)
def test_mistakes_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    names = {"run": made(tmp_path, "a", 1, 0.1), "other": made(tmp_path, "b", 1, 0.2)}
    names["file"] = str(tmp_path / "file")
    (tmp_path / "file").write_text("")
    assert main(["compare", *(argument.format(**names) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err
