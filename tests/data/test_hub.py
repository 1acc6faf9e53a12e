"""Datasets of Hugging Face's library as a source, from local files: nothing is downloaded here."""

from __future__ import annotations

import importlib.util
import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marco.data import Corpus, hub
from marco.data.hub import HubText
from marco.errors import ConfigError, DataError
from marco.tokenizers import Tokenizer
from marco.tokenizers.qwen2 import QwenTokenizer

WHERE = "data.sources.swh"
TABLE = {
    "text": ["moja", "  ", None, "mbili e\u0301", "tatu"],
    "lang": ["swh", "swh", "swh", "swh", "eng"],
    "key": [1, 2, 3, 4, 5],
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return QwenTokenizer().load(Corpus({}, {}))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "local"
    place.mkdir()
    pq.write_table(pa.table(TABLE), place / "train.parquet")
    return place


def texts(settings: HubText, tokenizer: Tokenizer) -> list[str]:
    source = settings.open("swh", "swh", tokenizer)
    assert (source.name, source.language) == ("swh", "swh")
    ends = [0, *source.store.ends(0, source.store.documents).tolist()]
    tokens = source.store.read(0, len(source.store)).tolist()
    found = [tokenizer.decode(tokens[a : b - 1]) for a, b in pairwise(ends)]
    assert source.text_bytes == sum(len(text.encode()) for text in found)
    return found


def test_a_local_folder(
    folder: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = HubText(str(folder), id_column="key")
    settings.check(WHERE)
    with caplog.at_level(logging.WARNING):
        assert texts(settings, tokenizer) == ["moja", "mbili \u00e9", "tatu"]
    assert f"{WHERE}: 2 rows dropped, which have no text." in caplog.messages


def test_json_lines_and_another_column(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"content": t, "n": 1}) + "\n" for t in ("ab", "cd", "ef")))
    settings = HubText("json", data_files=str(path), text_column="content", split="train[:2]")
    settings.check(WHERE)
    assert texts(settings, tokenizer) == ["ab", "cd"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({"lang": "eng"}, ["tatu"]), ({"lang": "swh", "key": 4}, ["mbili \u00e9"])],
)
def test_only_rows_with_a_value(
    folder: Path, tokenizer: Tokenizer, wanted: dict[str, Any], found: list[str]
) -> None:
    assert texts(HubText(str(folder), filter=wanted), tokenizer) == found


def test_it_is_tokenised_once_and_again_when_it_changed(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    tokenised = hub.tokenised

    def watched(*arguments: Any) -> Any:
        keys.append(arguments[3])
        return tokenised(*arguments)

    monkeypatch.setattr(hub, "tokenised", watched)
    settings = HubText(str(folder))
    texts(settings, tokenizer)
    texts(settings, tokenizer)
    assert texts(HubText(str(folder), filter={"lang": "eng"}), tokenizer) == ["tatu"]
    pq.write_table(pa.table({"text": ["nne"], "lang": ["swh"]}), folder / "train.parquet")
    assert texts(settings, tokenizer) == ["nne"]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "trian"}, r"\.split=trian: .* has no split 'trian'\. Did you mean 'train'\?"),
        ({"text_column": "txt"}, r"\.text_column: .* no column 'txt'\. Did you mean 'text'\?"),
        ({"id_column": "keys"}, r"\.id_column: .* no column 'keys'\. Did you mean 'key'\?"),
        ({"filter": {"lng": "x"}}, r"\.filter: .* no column 'lng'\. Did you mean 'lang'\?"),
        ({"filter": {"key": "x"}}, r"\.filter: column 'key' holds int64, and 'x' is none"),
        ({"name": "defualt"}, r"cannot be loaded: .*defualt"),
    ],
)
def test_names_that_are_wrong(
    folder: Path, tokenizer: Tokenizer, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        HubText(str(folder), **changes).open("swh", "swh", tokenizer)
    assert str(error.value).startswith(WHERE)


def test_no_text(folder: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"has no text in column 'text' where \{'lang': 'yor'\}"):
        HubText(str(folder), filter={"lang": "yor"}).open("swh", "swh", tokenizer)
    with pytest.raises(DataError, match=r"text_column=key holds int64, not strings"):
        HubText(str(folder), text_column="key").open("swh", "swh", tokenizer)


def test_places_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match=r"there is no .*x\.jsnl\. Did you mean 'x\.jsonl'\?"):
        HubText("json", data_files=f"{tmp_path}/x.jsnl").check(WHERE)
    with pytest.raises(ConfigError, match=rf"{WHERE}\.path=json is a format: name its files"):
        HubText("json").check(WHERE)
    with pytest.raises(ConfigError, match=r"path=.*/fodler: there is no such folder"):
        HubText(str(tmp_path / "fodler")).check(WHERE)

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(ConfigError, match=r"no network Without a network, copy its files"):
        HubText("owner/name").check(WHERE)


def test_a_dataset_of_the_cache_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        pytest.fail("the hub was asked")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", asked)
    (tmp_path / "datasets" / "Owner___some_name").mkdir(parents=True)
    HubText("Owner/SomeName").check(WHERE)


def test_the_extra_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(hub, "find_spec", lambda n: None if n == "datasets" else real(n))
    with pytest.raises(ConfigError, match=r'pip install "marco-train\[hub\]"'):
        HubText(str(folder)).check(WHERE)
