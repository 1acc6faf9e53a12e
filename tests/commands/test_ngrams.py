"""`marco ngrams` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shard_files import EOT, word_tokenizer, write_shard

from marco.commands import main
from marco.data.udhr import read_declarations
from marco.evaluation.contamination.ngram_index import NgramIndex
from marco.evaluation.contamination.overlap import look_up


def test_text_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [" ".join(f"{word}{number}" for number in range(20)) for word in "abcd"]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("\n\n".join(texts[:2]))
    place = f"index={tmp_path / 'index'}"
    assert main(["ngrams", place, f"path={tmp_path}/corp*/a.txt", "words=8"]) == 0
    assert "26 different n-grams of 8 words, of 2 documents" in capsys.readouterr().out
    found = look_up(texts, NgramIndex(tmp_path / "index"))
    assert found == [(13, 13), (13, 13), (0, 13), (0, 13)]


def test_a_runs_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training articles are in it; held-out ones are not."""
    run = "data.languages=[eng,tha]"
    assert main(["ngrams", f"index={tmp_path / 'index'}", run]) == 0
    assert "of 52 documents" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert manifest["source"] == run
    index = NgramIndex(tmp_path / "index")
    for articles in read_declarations(["eng", "tha"]).values():
        trained = look_up([articles[number] for number in range(26)], index)
        assert all(found == ngrams for found, ngrams in trained)
        held_out = look_up([articles[number] for number in range(26, 31)], index)
        assert {found for found, _ in held_out} == {0}


def test_token_shards_are_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path / "shards" / "swh" / "a.ds", [[1, 2, 3, EOT], [3, 2, EOT]])
    tokenizer = word_tokenizer()
    tokenizer.save(tmp_path / "words")
    run = [
        f"data.path={tmp_path / 'shards'}", "data=shards", "evaluation=none", "data.unstamped=true",
        "tokenizer=pretrained", f"tokenizer.path={tmp_path / 'words'}",
    ]  # fmt: skip
    assert main(["ngrams", f"index={tmp_path / 'index'}", "words=2", *run]) == 0
    assert "3 different n-grams of 2 words, of 2 documents" in capsys.readouterr().out
    index = NgramIndex(tmp_path / "index")
    assert look_up([tokenizer.decode([2, 3]), tokenizer.decode([1, 3])], index) == [(1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["path=x"], "index=… must be given"),
        (["index=x"], "Say which text"),
        (["index=x", "path=y", "data=udhr"], "not both"),
        (["index=x", "path=no/such/*.txt"], "ngrams.path=no/such/*.txt: there is no such"),
        (["index=x", "path=y", "words=two"], "words=two should be a whole number"),
        (["index=x", "index=y", "path=z"], "index is given twice"),
        (["index=", "path=z"], "index is empty"),
        (["index=x", "data.langages=[eng]"], "data.languages"),
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
    assert list(tmp_path.iterdir()) == []
