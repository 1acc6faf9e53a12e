"""`marco ngrams` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shard_files import EOT, word_tokenizer, write_shard

from marco.commands import main

UDHR = "data.languages=[eng,tha]"


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[tuple[str, str], float]:
    assert main(["ngrams", "check", *arguments, "output=json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(line["language"], line["metric"]): line["value"] for line in lines}


def test_text_files_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [" ".join(f"{word}{number}" for number in range(20)) for word in "abcd"]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("\n\n".join(texts[:2]))
    (tmp_path / "items").mkdir()
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (tmp_path / "items" / "swh.jsonl").write_text("".join(lines))
    place = f"index={tmp_path / 'index'}"
    assert main(["ngrams", "build", place, f"path={tmp_path / 'corpus'}", "words=8"]) == 0
    said = capsys.readouterr().out
    assert "26 different n-grams of 8 words, of 2 documents" in said
    found = rows(capsys, place, f"path={tmp_path / 'items'}")
    assert found == {("swh", "ngram_overlap"): 0.5, ("swh", "ngram_found"): 0.5}
    found = rows(capsys, place, f"path={tmp_path}/corp*/a.txt", "language=Thai")
    assert found == {("tha", "ngram_overlap"): 1.0, ("tha", "ngram_found"): 1.0}
    assert main(["ngrams", "check", place, f"path={tmp_path / 'items'}"]) == 0
    assert "swh             4    50.0% (15.0%-85.0%)" in capsys.readouterr().out


def test_a_runs_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held-out articles are not in the training text; training articles are."""
    place = f"index={tmp_path / 'index'}"
    assert main(["ngrams", "build", place, UDHR]) == 0
    assert "of 52 documents" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert manifest["source"] == UDHR
    assert set(rows(capsys, place, UDHR).values()) == {0.0}
    swapped = ["data.train_articles=26-30", "data.held_out_articles=0-25"]
    assert set(rows(capsys, place, UDHR, *swapped).values()) == {1.0}


def test_token_shards_are_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path / "shards" / "swh" / "a.ds", [[1, 2, 3, EOT], [3, 2, EOT]])
    tokenizer = word_tokenizer()
    tokenizer.save(tmp_path / "words")
    run = [
        f"data.path={tmp_path / 'shards'}", "data=shards", "evaluation=none", "data.unstamped=true",
        "tokenizer=pretrained", f"tokenizer.path={tmp_path / 'words'}",
    ]  # fmt: skip
    place = f"index={tmp_path / 'index'}"
    assert main(["ngrams", "build", place, "words=2", *run]) == 0
    assert "3 different n-grams of 2 words, of 2 documents" in capsys.readouterr().out
    (tmp_path / "swh.txt").write_text(tokenizer.decode([2, 3]))
    assert set(rows(capsys, place, f"path={tmp_path / 'swh.txt'}").values()) == {1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bild", "index=x"], "Did you mean 'build'?"),
        (["build", "path=x"], "index=… must be given"),
        (["build", "index=x"], "Say which text"),
        (["build", "index=x", "path=y", "data=udhr"], "not both"),
        (["build", "index=x", "path=no/such/*.txt"], "ngrams.path=no/such/*.txt: there is no such"),
        (["build", "index=x", "path=y", "words=two"], "words=two should be a whole number"),
        (["build", "index=x", "path=y", "output=json"], "`marco ngrams build` has no such key"),
        (["build", "index=x", "index=y", "path=z"], "index is given twice"),
        (["build", "index=", "path=z"], "index is empty"),
        (["check", "index=no/such", "path=y"], "there is no n-gram index"),
        (["check", "index=x", "path=y", "output=yaml"], "text or json"),
        (["build", "index=x", "data.langages=[eng]"], "data.languages"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ngrams", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert shown.out == ""


def test_files_must_name_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "swahilli.txt").write_text("a b")
    place = f"index={tmp_path / 'index'}"
    assert main(["ngrams", "build", place, f"path={tmp_path / 'swahilli.txt'}"]) == 0
    assert main(["ngrams", "check", place, f"path={tmp_path / 'swahilli.txt'}"]) == 2
    assert "Did you mean 'Swahili'?" in capsys.readouterr().err
