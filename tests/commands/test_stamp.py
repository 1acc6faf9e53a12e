from __future__ import annotations

from pathlib import Path

import pytest
from shard_files import EOT, word_tokenizer, write_shard

from marco.commands import main
from marco.data.fingerprint import read_stamp


def test_stamping_with_a_tokenizers_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "swh"
    write_shard(folder / "a.ds", [[1, 2, EOT]])
    word_tokenizer().save(tmp_path / "words")
    arguments = [f"path={folder}", "tokenizer=pretrained", f"tokenizer.path={tmp_path}/words"]
    assert main(["stamp", *arguments]) == 0
    assert capsys.readouterr().out == f"{folder}: 1 shards stamped.\n"
    found = read_stamp(str(folder))
    assert found is not None
    assert (found.tokenizer, found.shards) == ("words", {"a.ds": 6})
    assert found.fingerprint == word_tokenizer().fingerprint


def test_shards_of_another_tokenizer_are_not_stamped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(tmp_path / "a.ds", [[1, 2, EOT]])
    assert main(["stamp", f"path={tmp_path}", "tokenizer=qwen2"]) == 2
    assert "document 0 ends with token 9, not with the tokenizer's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["path=x"], "takes path=<folder> and tokenizer="),
        (["tokenizer=qwen2"], "takes path=<folder> and tokenizer="),
        (["path=x", "tokenizer=qwen2", "seed=1"], "and nothing else"),
        (["path=x", "tokenizer=qwen3"], "qwen2"),
        (["path=x", "tokenizer=embedded"], "tokenizer.path=<run folder>/tokenizer"),
        (["path=no/such", "tokenizer=qwen2"], "stamp.path=no/such: nothing is there"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stamp", *arguments]) == 2
    assert message in capsys.readouterr().err
