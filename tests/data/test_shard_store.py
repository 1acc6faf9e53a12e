from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_files import EOT, write_shard

from marco.data import shard_store
from marco.data.mapped import OpenMaps
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore
from marco.errors import DataError

VOCABULARY = 1000


def store(folder: Path) -> ShardStore:
    return ShardStore(list_shards(str(folder), "here"), EOT, VOCABULARY)


def two_shards(folder: Path) -> ShardStore:
    write_shard(folder / "a.ds", [[1, 2, EOT], [3, EOT]])
    write_shard(folder / "b.ds", [[4, 5, 6, EOT]])
    return store(folder)


documents = st.lists(
    st.lists(st.integers(10, VOCABULARY - 1), min_size=1, max_size=6).map(lambda d: [*d, EOT]),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(
    shards=st.lists(documents, min_size=1, max_size=6).filter(any),
    token_bytes=st.sampled_from([2, 4]),
    with_loss=st.booleans(),
    data=st.data(),
)
def test_shards_read_as_one_array(
    tmp_path_factory: pytest.TempPathFactory,
    shards: list[list[list[int]]],
    token_bytes: int,
    with_loss: bool,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    masks = []
    for number, shard in enumerate(shards):
        size = sum(map(len, shard))
        mask = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
        masks += mask
        write_shard(folder / f"{number}.ds", shard, token_bytes, mask if with_loss else None)
    opened = store(folder)
    flat = [document for shard in shards for document in shard]
    tokens = np.concatenate(flat)
    ends = np.cumsum([len(document) for document in flat])
    assert (len(opened), opened.documents) == (len(tokens), len(flat))
    for _ in range(5):
        start, stop = sorted(data.draw(st.integers(0, len(tokens))) for _ in range(2))
        read = opened.read(start, stop)
        assert read.dtype == np.int32
        np.testing.assert_array_equal(read, tokens[start:stop])
        found = opened.mask(start, stop)
        if with_loss:
            assert found is not None
            assert found.dtype == np.bool_
            np.testing.assert_array_equal(found, np.array(masks, bool)[start:stop])
        else:
            assert found is None
        first, last = sorted(data.draw(st.integers(0, len(flat))) for _ in range(2))
        np.testing.assert_array_equal(opened.ends(first, last), ends[first:last])


def test_a_range_outside_is_an_error(tmp_path: Path) -> None:
    opened = two_shards(tmp_path)
    for start, stop in ((-1, 2), (0, 10), (3, 2)):
        with pytest.raises(IndexError, match="no range within 0 to 9"):
            opened.read(start, stop)


def test_pickling_carries_no_open_file(tmp_path: Path) -> None:
    opened = two_shards(tmp_path)
    before = len(pickle.dumps(opened))
    opened.read(0, 9)
    assert len(pickle.dumps(opened)) == before
    again = pickle.loads(pickle.dumps(opened))
    assert again.read(0, 9).tolist() == [1, 2, EOT, 3, EOT, 4, 5, 6, EOT]
    assert again.ends(0, 3).tolist() == [3, 5, 9]


def test_as_many_maps_as_allowed_and_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        write_shard(tmp_path / f"{number}.ds", [[number + 10, EOT]])
    maps = OpenMaps(4)
    monkeypatch.setattr(shard_store, "MAPS", maps)
    opened = store(tmp_path)
    for _ in range(2):
        for number in range(10):
            assert opened.read(2 * number, 2 * number + 1).tolist() == [number + 10]
            assert len(maps) <= 4
    opened.read(0, 1)
    kept = {Path(path).name for path, _ in maps._maps}
    assert kept == {"7.ds", "8.ds", "9.ds", "0.ds"}


def test_threads_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        write_shard(tmp_path / f"{number:02d}.ds", [[number + 10, EOT]])
    monkeypatch.setattr(shard_store, "MAPS", OpenMaps(3))
    opened = store(tmp_path)
    expected = opened.read(0, 100).tolist()
    found: list[list[int]] = []

    def read() -> None:
        found.extend(opened.read(0, 100).tolist() for _ in range(10))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 80


def test_an_id_the_tokenizer_does_not_have(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, EOT]])
    write_shard(tmp_path / "b.ds", [[1, VOCABULARY - 1, VOCABULARY, EOT]])
    opened = store(tmp_path)
    assert opened.read(0, 4).tolist() == [1, EOT, 1, VOCABULARY - 1]
    with pytest.raises(DataError, match=r"b\.ds, token 2: the id 1000 is not below 1000"):
        opened.read(3, 6)


def test_the_largest_four_byte_id_is_refused_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[2**32 - 1, EOT]], 4)
    with pytest.raises(DataError, match="the id 4294967295 is not below"):
        store(tmp_path).read(0, 1)


def test_shards_without_end_of_text_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, 2], [3, 4]])
    with pytest.raises(DataError, match=r"a\.ds: document 0 ends with token 2.*eos_token="):
        store(tmp_path).read(0, 1)


def test_two_ends_of_text_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, EOT, EOT], [EOT, EOT]])
    with pytest.raises(DataError, match="two end-of-text tokens"):
        store(tmp_path).read(0, 1)


def test_an_empty_document_is_its_end_of_text(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[EOT], [EOT], [1, EOT]])
    opened = store(tmp_path)
    assert opened.read(0, 4).tolist() == [EOT, EOT, 1, EOT]
    assert opened.ends(0, 3).tolist() == [1, 2, 4]


def test_a_truncated_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, EOT]])
    path = write_shard(tmp_path / "b.ds", [[1, EOT], [2, EOT]])
    path.write_bytes(path.read_bytes()[:-2])
    opened = store(tmp_path)
    with pytest.raises(DataError, match=r"b\.ds holds 3 tokens .* ends at token 4: the shard is"):
        opened.read(2, 3)
    with pytest.raises(DataError, match="the shard is truncated"):
        opened.check()


def test_an_index_of_a_longer_or_shorter_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, EOT]])
    path = write_shard(tmp_path / "b.ds", [[1, EOT], [2, EOT]])
    np.array([2, 3], "<u8").tofile(f"{path}.index")
    with pytest.raises(DataError, match="ends at token 3: the index is of another shard"):
        store(tmp_path).ends(1, 2)


def test_tokens_of_another_size_than_the_first_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.ds", [[1, EOT]], 4)
    write_shard(tmp_path / "b.ds", [[1, EOT], [2, EOT]], 2)
    with pytest.raises(DataError, match="tokens have another size here than in the first"):
        store(tmp_path).read(2, 4)


def test_an_index_that_falls_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, EOT]] * 40)
    index = np.fromfile(f"{path}.index", "<u8")
    index[11] = 3
    index.tofile(f"{path}.index")
    opened = store(tmp_path)
    assert opened.ends(20, 22).tolist() == [42, 44]
    with pytest.raises(DataError, match=r"documents 10 to 12 do not rise"):
        opened.ends(11, 13)


def test_an_index_that_leaves_the_shard_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, EOT]] * 40)
    index = np.fromfile(f"{path}.index", "<u8")
    index[11] = 81
    index.tofile(f"{path}.index")
    with pytest.raises(DataError, match="not within the shard's 80 tokens"):
        store(tmp_path).ends(8, 12)


def test_an_index_past_the_end_in_the_middle_is_refused_when_opened(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.ds", [[1, EOT]] * 4)
    np.array([2, 2**63 + 5, 6, 8], "<u8").tofile(f"{path}.index")
    with pytest.raises(DataError, match=r"a\.ds\.index: document 1 goes from token 2 to 9223"):
        store(tmp_path).read(0, 1)


def test_a_shard_that_is_gone_mid_run(tmp_path: Path) -> None:
    opened = two_shards(tmp_path)
    opened.read(0, 2)
    (tmp_path / "b.ds").unlink()
    with pytest.raises(DataError, match=r"b\.ds was there when the run started, and is gone"):
        opened.read(5, 6)


def test_a_shard_that_was_written_to_mid_run(tmp_path: Path) -> None:
    opened = two_shards(tmp_path)
    write_shard(tmp_path / "b.ds", [[1, EOT], [2, EOT]])
    with pytest.raises(DataError, match=r"b\.ds.* bytes, and had .* when the run started"):
        opened.read(5, 6)
