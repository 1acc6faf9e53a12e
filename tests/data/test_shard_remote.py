from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from shard_files import EOT, word_tokenizer, write_shard

from marco.data import mapped, remote, shard_cache, shard_store
from marco.data.fingerprint import stamp
from marco.data.mapped import OpenMaps
from marco.data.shard_cache import ShardCache
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore
from marco.data.shards import Shards
from marco.errors import ConfigError, DataError


class Far(DirFileSystem):  # type: ignore[misc]
    """Local files behind `far://`, that are slow, or fail as many times as they are told to."""

    protocol = "far"
    cachable = False
    root = ""
    fetches: list[str] = []
    failures: list[Exception] = []

    def __init__(self, **options: Any) -> None:
        root = self.root or os.environ["FAR_ROOT"]
        super().__init__(path=root, fs=LocalFileSystem(), **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("far://").strip("/")

    def unstrip_protocol(self, name: str) -> str:
        return f"far://{name}"

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        if Far.failures:
            raise Far.failures.pop(0)
        Far.fetches.append(rpath)
        time.sleep(float(os.environ.get("FAR_SECONDS", "0")))
        super().get_file(rpath, lpath, **options)


fsspec.register_implementation("far", Far, clobber=True)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "far"
    for number in range(6):
        write_shard(folder / "swh" / f"{number}.ds", [[number + 10, EOT]] * 100)
    stamp(folder / "swh", word_tokenizer())
    monkeypatch.setattr(Far, "root", str(folder))
    monkeypatch.setattr(Far, "fetches", [])
    monkeypatch.setattr(Far, "failures", [])
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.02))
    monkeypatch.setattr(shard_store, "MAPS", OpenMaps(4))
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    return folder


def shards_of(fetches: list[str]) -> list[str]:
    return [name for name in fetches if name.endswith(".ds")]


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if not path.name.startswith(".")]


def test_remote_shards_read_as_local_ones(far: Path, tmp_path: Path) -> None:
    settings = Shards(path="far://swh")
    settings.check("here")
    source = settings.open("swh", "swh", word_tokenizer())
    assert Far.fetches == []
    local = Shards(path=str(far / "swh")).open("swh", "swh", word_tokenizer()).store
    np.testing.assert_array_equal(source.store.read(150, 450), local.read(150, 450))
    assert shards_of(Far.fetches) == ["swh/0.ds", "swh/1.ds", "swh/2.ds"]
    np.testing.assert_array_equal(source.store.ends(0, 600), local.ends(0, 600))
    assert len(shards_of(Far.fetches)) == 3, "the ends need no tokens"
    assert (tmp_path / "cache" / "shards").is_dir()
    before = len(Far.fetches)
    again = settings.open("swh", "swh", word_tokenizer())
    np.testing.assert_array_equal(again.store.read(150, 450), local.read(150, 450))
    assert len(Far.fetches) == before


def test_globs_over_a_remote(far: Path) -> None:
    assert list_shards("far://sw*/[12].ds", "here").paths == ("far://swh/1.ds", "far://swh/2.ds")
    with pytest.raises(ConfigError, match=r"far://shw: nothing is there. Did you mean 'swh'"):
        list_shards("far://shw", "here")


def test_memory_remote(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, 2, EOT]])
    files = fsspec.filesystem("memory")
    for name in ("a.ds", "a.ds.index"):
        files.pipe_file(f"/remote/{name}", (path.parent / name).read_bytes())
    settings = Shards(path="memory://remote", unstamped=True, cache_dir=str(tmp_path / "cache"))
    store = settings.open("swh", "swh", word_tokenizer()).store
    assert store.read(0, 3).tolist() == [1, 2, EOT]


def test_what_was_used_last_stays_within_the_bound(far: Path, tmp_path: Path) -> None:
    """A shard has 400 bytes and its index 800: three of both and no more fit into 4,000."""
    cache = ShardCache(tmp_path / "small", 4000)
    store = ShardStore(list_shards("far://swh", "here"), EOT, 20, cache)
    for _ in range(3):
        for shard in range(6):
            assert store.read(200 * shard, 200 * shard + 2).tolist() == [shard + 10, EOT]
            assert sum(path.stat().st_size for path in kept(cache.folder)) <= 4000
    assert len(shards_of(Far.fetches)) > 6
    used = shards_of(Far.fetches)[-1]
    store.read(1000, 1001)
    assert shards_of(Far.fetches)[-1] == used, "the last one was still there"


def test_the_least_recently_used_goes_first(far: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 1000)
    first, second = (cache.fetch(f"far://swh/{n}.ds", "", 400) for n in (0, 1))
    os.utime(first, (1, 2))
    os.utime(second, (1, 1))
    third = cache.fetch("far://swh/2.ds", "", 400)
    assert sorted(kept(cache.folder)) == sorted([first, third])
    assert cache.fetch("far://swh/0.ds", "", 400) == first
    assert len(Far.fetches) == 3


def test_an_evicted_file_stays_readable_where_it_is_mapped(far: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 10_000)
    store = ShardStore(list_shards("far://swh", "here"), EOT, 20, cache)
    store.read(0, 1)
    for path in kept(cache.folder):
        path.unlink()
    assert store.read(100, 102).tolist() == [10, EOT]
    assert len(shards_of(Far.fetches)) == 1
    store.read(200, 201)  # opening another one lets go of what was evicted
    store.read(0, 1)
    assert shards_of(Far.fetches) == ["swh/0.ds", "swh/1.ds", "swh/0.ds"]


def test_a_shard_in_use_is_kept_fresh(
    far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes through a map for hours; to the cache's other users it must not look idle."""
    monkeypatch.setattr(mapped, "_TOUCH_SECONDS", 0.0)
    cache = ShardCache(tmp_path / "small", 2500)
    store = ShardStore(list_shards("far://swh", "here"), EOT, 20, cache)
    store.read(0, 1)
    for path in kept(cache.folder):
        os.utime(path, (1, 1))
    store.read(0, 1)
    (tokens,) = (path for path in kept(cache.folder) if path.suffix == ".400")
    assert tokens.stat().st_mtime > 1


def test_what_a_crash_left_is_removed(far: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 1000)
    cache.folder.mkdir()
    old, new = cache.folder / "x.900.part", cache.folder / "y.300.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (1, time.time() - 2 * shard_cache._STALE_SECONDS))
    cache.fetch("far://swh/0.ds", "", 400)
    assert not old.exists()
    assert new.exists()


def test_a_damaged_copy_is_fetched_again(far: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 1000)
    path = cache.fetch("far://swh/0.ds", "", 400)
    path.write_bytes(b"half")
    assert cache.fetch("far://swh/0.ds", "", 400) == path
    assert path.stat().st_size == 400


def test_another_version_is_another_copy(far: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 1000)
    assert cache.fetch("far://swh/0.ds", "1", 400) != cache.fetch("far://swh/0.ds", "2", 400)


def test_a_remote_that_fails_for_a_while(far: Path) -> None:
    store = Shards(path="far://swh").open("swh", "swh", word_tokenizer()).store
    Far.failures[:] = [ConnectionError("reset"), TimeoutError("late")]
    assert store.read(0, 2).tolist() == [10, EOT]


def test_a_remote_that_disappears_mid_run(far: Path, tmp_path: Path) -> None:
    store = Shards(path="far://swh").open("swh", "swh", word_tokenizer()).store
    store.read(0, 2)
    Far.failures[:] = [ConnectionError("no route to host")] * 10
    message = r"fetching far://swh/1\.ds\S* failed 3 times in .* ConnectionError: no route to host"
    with pytest.raises(DataError, match=message):
        store.read(200, 202)
    Far.failures[:] = []
    (far / "swh" / "1.ds").unlink()
    with pytest.raises(DataError, match=r"far://swh/1\.ds was listed when .* gone from the remote"):
        store.read(200, 202)
    assert store.read(0, 2).tolist() == [10, EOT]
    assert not list((tmp_path / "cache" / "shards").glob("*.part"))


def test_a_remote_shard_that_changes_its_size_mid_run(far: Path) -> None:
    store = Shards(path="far://swh").open("swh", "swh", word_tokenizer()).store
    (far / "swh" / "0.ds").write_bytes(bytes(10))
    with pytest.raises(DataError, match=r"10 bytes came, 400 were listed when the run started"):
        store.read(0, 2)


def test_a_remote_that_cannot_be_listed(far: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Far, path: str, **options: Any) -> None:
        raise ConnectionError("no credentials")

    monkeypatch.setattr(Far, "info", refuse)
    with pytest.raises(DataError, match=r"looking for far://swh failed 3 times.*no credentials"):
        Shards(path="far://swh").check("here")


def test_a_cache_smaller_than_a_shard(far: Path) -> None:
    with pytest.raises(ConfigError, match=r"here.cache_gigabytes=1e-07: the largest shard alone"):
        Shards(path="far://swh", cache_gigabytes=1e-7).check("here")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://bucket/swh", "s3:// needs a package that is not installed: pip install s3fs"),
        ("s4://bucket/swh", "here.path: 's4://bucket/swh' cannot be opened"),
    ],
)
def test_protocols_that_are_not_there(
    path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(ConfigError, match=message):
        list_shards(path, "here")


def _read_all(folder: str, cache: str, found: Any) -> None:
    os.environ.update(FAR_ROOT=folder, FAR_SECONDS="0.05")
    store = ShardStore(list_shards("far://swh", "here"), EOT, 20, ShardCache(Path(cache), 10_000))
    tokens = store.read(0, len(store)).tolist()
    found.put((tokens, shards_of(Far.fetches)))


def test_two_processes_fetch_each_shard_once(far: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    arguments = (str(far), str(tmp_path / "shared"), found)
    processes = [context.Process(target=_read_all, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    results = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    expected = [token for shard in range(6) for token in [shard + 10, EOT] * 100]
    assert [tokens for tokens, _ in results] == [expected] * 2
    assert sorted(name for _, fetched in results for name in fetched) == [
        f"swh/{shard}.ds" for shard in range(6)
    ]


def test_processes_that_evict_each_others_shards(far: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    processes = [
        context.Process(target=_read_tight, args=(str(tmp_path / "tight"), found)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    results = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert results == [True] * 3
    assert sum(path.stat().st_size for path in kept(tmp_path / "tight")) <= 3600


def _read_tight(cache: str, found: Any) -> None:
    store = ShardStore(list_shards("far://swh", "here"), EOT, 20, ShardCache(Path(cache), 3600))
    random = np.random.default_rng(os.getpid())
    right = True
    for shard in random.integers(0, 6, 60).tolist():
        right &= store.read(200 * shard, 200 * shard + 2).tolist() == [shard + 10, EOT]
    found.put(right)
