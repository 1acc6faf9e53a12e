from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_folders import BITS, LANGUAGES, history, row, sample, write_run

from marco.errors import DataError
from marco.evaluation.history import Evaluation
from marco.evaluation.report.page import write_report
from marco.evaluation.report.setup import commands

VOID = ("meta", "br", "input")


class Page(HTMLParser):
    """A page taken apart: its text by section, its tags, and what it would fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.fetched: list[str] = []
        self.texts: dict[str, str] = {}
        self.scripts: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append((tag, found))
        self.fetched += [str(found[name]) for name in ("src", "href", "action") if name in found]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "script" in tags:
            self.scripts.append(data)
        elif "style" not in tags:
            sections = [attrs["id"] for tag, attrs in self.open if tag == "section"]
            section = sections[-1] if sections else "top"
            self.texts[str(section)] = self.texts.get(str(section), "") + data + " "

    @property
    def numbers(self) -> Any:
        """What the curves are drawn from."""
        return json.loads(self.scripts[1])


def page_of(folder: Path) -> Page:
    return Page(write_report(folder))


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_top_says_what_ran_and_what_came_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "udhr_tiny" / "noon")
    page = page_of(folder)
    top = flat(page.texts["top"])
    macro = json.loads((folder / "summary.json").read_text())["macro"]["bits_per_byte"]
    assert f"{macro['before']:.3f} → {macro['after']:.3f}" in top
    assert "Gained most Arabic 8.000 → 3.000 (-5.000)" in top
    assert "Lost most Swahili 3.000 → 3.250 (+0.250) · 1 of 4 languages lost" in top
    assert "10k tokens 4 languages, 0.5 to 7.5 epochs each" in top
    assert "2k tokens/s 5 s of training" in top
    assert "3.21 GB" in top
    assert "xz: 2.125" in top
    assert "Model qwen2, 12,345 parameters." in top
    assert "not at its end" not in top


def test_sections_have_the_runs_numbers(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon"))
    texts = {name: flat(text) for name, text in page.texts.items()}
    assert "bits per byte ↓ 5.250 3.375 -1.875 3 1 Arabic -5.000 Swahili +0.250" in texts["results"]
    assert "Swahili swh low 3.250 +0.250" in texts["languages"]
    assert "Swahili swh low 4k 40.0% 7.50" in texts["ledger"]
    assert "4.000 → 2.500 (-1.500) 6.000 → 4.750 (-1.250)" in texts["retention"]
    assert "Not looked for" in texts["contamination"]
    assert "Short <text>: the second line It is late. × 2" in texts["warnings"]
    assert "nothing to say" not in page.source
    assert "python train.py experiment=udhr_tiny tokens=10_000" in texts["reproduce"]
    assert "name: udhr_tiny seed: 1" in texts["config"]
    assert "translation" not in texts


def test_curves_are_the_evaluations_and_the_training(tmp_path: Path) -> None:
    numbers = page_of(write_run(tmp_path / "udhr_tiny" / "noon")).numbers
    evaluated, trained = numbers["measures"]
    assert evaluated["tokens"] == [0, 5000, 10_000]
    assert {code: tuple(line) for code, line in evaluated["values"].items()} == BITS
    assert evaluated["mean"] == [5.25, 3.875, 3.375]
    assert trained["values"]["swh"] == [float(f"{9 / step:.5g}") for step in range(1, 11)]
    loss = next(line for line in numbers["training"] if "loss" in line["name"])
    assert loss["values"] == [float(f"{8 / step:.5g}") for step in range(1, 11)]
    assert numbers["groups"] == ["english", "chinese", "high", "low"]
    assert numbers["languages"]["arb"] == ["Arabic", "high"]


def test_it_is_one_file_that_fetches_nothing(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon", samples=[sample("arb")]))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert page.fetched
    assert {link.removeprefix("#") for link in page.fetched} <= ids
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    without_comments = re.sub(r"/\*.*?\*/", "", page.source, flags=re.DOTALL)
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttp|import\(", without_comments)
    assert "The MIT License" in page.source
    assert len(page.source) < 500_000


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b onclick=x>&amp;"
    bad = row("eng", 0.5, task=evil, metric="acc")
    first = Evaluation(0, 0, (bad, *history()[0].rows))
    folder = write_run(
        tmp_path / "<i>" / "noon",
        [first, *history(bad)[1:]],
        config={"name": evil},
        overrides=[f"name={evil}"],
        samples=[sample("eng", evil, prompt=evil, reference=evil)],
    )
    (folder / "log.txt").write_text(f"2026-01-02 03:04:05,6 WARNING x: {evil}\n")
    page = page_of(folder)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 3
    assert not any("onclick" in attrs for _, attrs in page.tags)
    assert "i" not in tags
    assert evil in [measure["name"] for measure in page.numbers["measures"]]
    for section in ("samples", "config", "warnings", "reproduce", "results"):
        assert evil.replace("_", " ") in page.texts[section]
    assert page.texts["samples"].count(evil) == 3


def test_samples_stand_in_their_own_direction(tmp_path: Path) -> None:
    earlier = sample("arb", "old", tokens=5000)
    samples = [earlier, sample("arb", "نص", wrong_language=True), sample("cmn", "文")]
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon", samples=samples))
    ways = [(a["lang"], a["dir"]) for tag, a in page.tags if tag == "p" and "lang" in a]
    assert set(ways) == {("ar-Arab", "rtl"), ("zh-Hans", "ltr")}
    text = flat(page.texts["samples"])
    assert "old" not in text
    assert "Arabic · العربية another language It goes نص" in text


def test_any_to_any_is_a_square_and_english_two_columns(tmp_path: Path) -> None:
    def pair(source: str, target: str, value: float, task: str) -> Any:
        part = f"{source}_{target}"
        return row(target, value, task, metric="chrf++", subtask=part, source=source)

    more = [
        pair("cmn", "arb", 20.0, "flores"),
        pair("arb", "cmn", 40.0, "flores"),
        pair("eng", "swh", 12.5, "translate"),
        pair("swh", "eng", 25.0, "translate"),
    ]
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon", history(*more)))
    text = flat(page.texts["translation"])
    assert "cmn arb Chinese – 20.0 Arabic 40.0 –" in text
    assert "from English into English Swahili 12.5 25.0" in text
    strong = [a["style"] for _, a in page.tags if a.get("class") == "level"]
    assert strong == ["--w:0.50", "--w:1.00"]


def test_contamination_is_shown_apart(tmp_path: Path) -> None:
    found = row("swh", 0.125, "belebele", metric="overlap")
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon", history(found)))
    assert "belebele: overlap Swahili 0.125" in flat(page.texts["contamination"])
    assert "overlap" not in page.texts["results"] + page.texts["languages"]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_has_not_ended(resumed: bool, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "udhr_tiny" / "noon", summary=resumed)
    if resumed:  # for a larger budget, since the summary was written
        with (folder / "metrics.jsonl").open("w") as file:
            counts = {f"data/tokens/{code}": 5000 for code in LANGUAGES}
            counts |= {f"data/epochs/{code}": 2.5 for code in LANGUAGES}
            print(json.dumps({"step": 20, "tokens": 20_000, **counts}), file=file)
    top = flat(page_of(folder).texts["top"])
    assert "not at its end" in top
    assert ("20k tokens" if resumed else "10k tokens") in top
    assert ("2.5 epochs each" if resumed else "0.5 to 7.5 epochs each") in top
    assert "5.250 → 3.375" in top


def test_a_run_without_evaluations(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "udhr_tiny" / "noon", []))
    assert "never" in page.texts["top"]
    assert "Nothing was evaluated twice" in page.texts["results"]
    assert "languages" not in page.texts


def test_commands_are_ready_for_a_shell() -> None:
    given = [["mix.weights={eng: 0.5, swh: 0.5}", "name=it's"], ["resume=/runs/a b", "tokens=9"]]
    first, second = commands(given)
    assert shlex.split(first) == ["python", "train.py", *given[0]]
    assert second == "python train.py resume=last tokens=9"


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no config\.yaml"):
        write_report(tmp_path)
    folder = write_run(tmp_path / "udhr_tiny" / "noon")
    (folder / "evaluations.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="cannot be read: KeyError: 'tokens'"):
        write_report(folder)
