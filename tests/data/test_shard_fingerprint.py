from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from shard_files import EOT, word_tokenizer, write_shard

from marco.config import bind
from marco.data.fingerprint import STAMP, read_stamp, stamp
from marco.data.shard_folders import ShardFolders
from marco.data.shards import Shards
from marco.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_shard(tmp_path / f"{name}.ds", [[1, 2, EOT]])
    return tmp_path


def test_stamped_shards_open_with_their_tokenizer(folder: Path) -> None:
    tokenizer = word_tokenizer()
    assert stamp(folder, tokenizer) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["a.ds", "a.ds.index", "b.ds", "b.ds.index", STAMP]
    )
    settings = bind(
        {"_target_": "marco.data.shards.Shards", "path": str(folder), "language": "mul"}, "here"
    )
    settings.check("data.sources.web")
    source = settings.open("web", "mul", tokenizer)
    assert (source.name, source.language, source.end_of_text) == ("web", "mul", EOT)
    assert source.store.read(0, 6).tolist() == [1, 2, EOT] * 2


def test_another_tokenizer_is_refused_with_both_names(folder: Path) -> None:
    stamp(folder, word_tokenizer(20, "twenty"))
    for unstamped in (False, True):
        settings = Shards(path=str(folder), unstamped=unstamped)
        settings.check("data.sources.swh")
        with pytest.raises(ConfigError, match=r"tokenizer 'twenty' \(.*run's is 'thirty' \("):
            settings.open("swh", "swh", word_tokenizer(30, "thirty"))


def test_unstamped_shards_are_refused_unless_allowed(folder: Path) -> None:
    message = r"data.sources.swh.path: nothing says which tokenizer.*`marco stamp path=.*unstamped"
    with pytest.raises(ConfigError, match=message):
        Shards(path=str(folder)).check("data.sources.swh")
    with pytest.raises(ConfigError, match=message):
        Shards(path=str(folder)).open("swh", "swh", word_tokenizer())
    settings = Shards(path=str(folder), unstamped=True)
    settings.check("data.sources.swh")
    assert len(settings.open("swh", "swh", word_tokenizer()).store) == 6


def test_ids_of_unstamped_shards_are_still_checked(folder: Path) -> None:
    source = Shards(path=str(folder), unstamped=True).open("swh", "swh", word_tokenizer(10))
    assert source.store.read(0, 3).tolist() == [1, 2, EOT]
    write_shard(folder / "c.ds", [[15, EOT]])
    source = Shards(path=str(folder), unstamped=True).open("swh", "swh", word_tokenizer(10))
    with pytest.raises(DataError, match=r"c\.ds, token 0: the id 15 is not below 10"):
        source.store.read(5, 7)


def test_shards_added_or_rewritten_since_are_not_stamped(folder: Path) -> None:
    tokenizer = word_tokenizer()
    stamp(folder, tokenizer)
    write_shard(folder / "b.ds", [[1, EOT]])
    with pytest.raises(DataError, match=r"b\.ds had 6 bytes then, and has 4"):
        Shards(path=str(folder)).check("here")
    stamp(folder, tokenizer)
    write_shard(folder / "c.ds", [[1, EOT]])
    with pytest.raises(DataError, match=r"c\.ds is not in it"):
        Shards(path=str(folder)).open("swh", "swh", tokenizer)
    stamp(folder, tokenizer)
    Shards(path=str(folder)).check("here")


def test_every_folder_of_a_glob_is_stamped_whole(tmp_path: Path) -> None:
    for name in ("eng/a", "eng/b", "swh/a"):
        write_shard(tmp_path / f"{name}.ds", [[1, EOT]])
    assert stamp(f"{tmp_path}/*/a.ds", word_tokenizer()) == 3
    found = read_stamp(f"{tmp_path}/eng")
    assert found is not None
    assert found.shards == {"a.ds": 4, "b.ds": 4}


def test_a_damaged_shard_is_not_stamped(folder: Path) -> None:
    (folder / "b.ds").write_bytes(bytes(4))
    with pytest.raises(DataError, match="the shard is truncated"):
        stamp(folder, word_tokenizer())
    assert not (folder / STAMP).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shards": 3}', "\udcff"])
def test_a_stamp_that_is_none(folder: Path, content: str) -> None:
    (folder / STAMP).write_text(content, errors="surrogateescape")
    with pytest.raises(DataError, match=r"marco\.json is no stamp of marco's"):
        Shards(path=str(folder)).check("here")


def test_a_remote_folder_is_stamped(folder: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/stamped", recursive=True)
    tokenizer = word_tokenizer()
    assert stamp("memory://stamped", tokenizer) == 2
    assert json.loads(files.cat_file("/stamped/marco.json"))["fingerprint"] == tokenizer.fingerprint
    Shards(path="memory://stamped").check("here")


def test_wrong_settings(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"here.cache_gigabytes=0: more than 0"):
        Shards(path=str(folder), unstamped=True, cache_gigabytes=0).check("here")
    with pytest.raises(ConfigError, match=r"here.language: Unknown language 'swahilli'"):
        Shards(path=str(folder), unstamped=True, language="swahilli").check("here")


def test_a_folder_of_folders_names_its_own_keys(tmp_path: Path) -> None:
    write_shard(tmp_path / "swh" / "a.ds", [[1, 2, EOT]])
    with pytest.raises(ConfigError, match=r"^data\.path: .*; or set data\.unstamped=true\.$"):
        ShardFolders(str(tmp_path)).check()


def test_folders_of_a_glob_may_differ_in_masks_and_token_bytes(tmp_path: Path) -> None:
    write_shard(tmp_path / "eng" / "a.ds", [[1, 2, EOT]])
    write_shard(tmp_path / "swh" / "a.ds", [[1, 2, EOT]], loss=[0, 1, 1])
    write_shard(tmp_path / "yor" / "a.ds", [[1, 2, EOT]], token_bytes=4)
    assert stamp(f"{tmp_path}/*", word_tokenizer()) == 3
    assert all((tmp_path / name / STAMP).is_file() for name in ("eng", "swh", "yor"))
