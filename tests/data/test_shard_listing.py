from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from shard_files import EOT, write_shard

from marco.data.shard_listing import list_shards
from marco.errors import ConfigError, DataError


def names(path: str | list[str]) -> list[str]:
    return ["/".join(Path(found).parts[-2:]) for found in list_shards(path, "here").paths]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("eng/b", "eng/a", "eng/deep/c", "swh/d"):
        write_shard(tmp_path / f"{name}.ds", [[1, EOT]])
    return tmp_path


def test_a_folder_means_its_own_shards_sorted(tree: Path) -> None:
    assert names(f"{tree}/eng") == names(f"{tree}/eng/") == ["eng/a.ds", "eng/b.ds"]


def test_globs_of_folders_and_of_shards(tree: Path) -> None:
    assert names(f"{tree}/*") == ["eng/a.ds", "eng/b.ds", "swh/d.ds"]
    assert names(f"{tree}/*/*.ds") == ["eng/a.ds", "eng/b.ds", "swh/d.ds"]
    assert names(f"{tree}/**/*.ds") == ["eng/a.ds", "eng/b.ds", "deep/c.ds", "swh/d.ds"]
    assert names(f"{tree}/eng/b.ds") == ["eng/b.ds"]
    assert names(f"file://{tree}/swh") == ["swh/d.ds"]


def test_a_list_is_read_in_its_order(tree: Path) -> None:
    assert names([f"{tree}/swh", f"{tree}/eng"]) == ["swh/d.ds", "eng/a.ds", "eng/b.ds"]
    with pytest.raises(ConfigError, match=r"here.path: .*a\.ds is named twice"):
        list_shards([f"{tree}/eng", f"{tree}/eng/a*"], "here")


def test_a_relative_path_becomes_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert list_shards("swh", "here").paths == (f"{tree}/swh/d.ds",)


def test_a_folder_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    write_shard(tmp_path / "[eng]" / "a.ds", [[1, EOT]])
    assert names(f"{tmp_path}/[eng]") == ["[eng]/a.ds"]


def test_nothing_there(tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"here.path=.*/egn: nothing is there. Did you mean 'eng"):
        list_shards(f"{tree}/egn", "here")
    with pytest.raises(ConfigError, match=r"no token shards .* write '.*/\*'"):
        list_shards(str(tree), "here")


@pytest.mark.parametrize("token_bytes", [2, 4])
def test_the_size_of_a_token_comes_from_metadata_or_the_index(
    tmp_path: Path, token_bytes: int
) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, 2, EOT], [3, EOT]], token_bytes, loss=[1] * 5)
    for text in (None, f"a|b/tokenizer.json|{token_bytes}\n5\n5 T", "damaged"):
        if text is not None:
            Path(f"{path}.metadata").write_text(text)
        found = list_shards(str(tmp_path), "here")
        assert (found.token_bytes, found.loss) == (token_bytes, True)
        assert (found.tokens.tolist(), found.documents.tolist()) == ([5], [2])


def test_empty_shards_are_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shard(tmp_path / "a.ds", [])
    write_shard(tmp_path / "b.ds", [[1, EOT]])
    with caplog.at_level(logging.WARNING):
        assert len(list_shards(str(tmp_path), "here").paths) == 1
    assert "here: 1 of 2 shards are empty." in caplog.text
    (tmp_path / "b.ds").unlink()
    (tmp_path / "b.ds.index").unlink()
    with pytest.raises(DataError, match="no shard there, or only empty ones"):
        list_shards(str(tmp_path), "here")


def damaged(folder: Path, suffix: str, content: bytes | None) -> None:
    write_shard(folder / "a.ds", [[1, EOT]], loss=[1, 1])
    write_shard(folder / "b.ds", [[1, EOT], [2, 3, EOT]], loss=[1] * 5)
    path = folder / f"b.ds{suffix}"
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("", bytes(9), r"b\.ds has 9 bytes, no multiple of 2.*truncated"),
        ("", b"", r"b\.ds is empty \(0 bytes\), and .*b\.ds\.index is not"),
        (".index", b"", r"b\.ds\.index is empty \(0 bytes\), and .*b\.ds is not"),
        (".index", bytes(15), r"b\.ds\.index has 15 bytes, no multiple of 8: truncated"),
        (".index", None, r"b\.ds: there is no b\.ds\.index beside it.*save_index=True"),
        (".loss", bytes(4), r"b\.ds\.loss has 4 bytes, and the shard 5 tokens"),
        (".loss", None, r"1 of 2 shards have a loss mask .*b\.ds has none"),
    ],
)
def test_sizes_no_shard_has(
    tmp_path: Path, suffix: str, content: bytes | None, message: str
) -> None:
    damaged(tmp_path, suffix, content)
    with pytest.raises(DataError, match=message):
        list_shards(str(tmp_path), "here")


def test_a_first_shard_that_is_truncated(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, 2, 3, EOT]])
    path.write_bytes(bytes(6))
    with pytest.raises(DataError, match="6 bytes, and its index ends at token 4: that is neither"):
        list_shards(str(tmp_path), "here")
    np.zeros(1, "<u8").tofile(f"{path}.index")
    with pytest.raises(DataError, match="ends at token 0"):
        list_shards(str(tmp_path), "here")
