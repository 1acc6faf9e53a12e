"""Tokenizers that are already there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marco.data import Corpus
from marco.errors import ConfigError, DataError
from marco.tokenizers import Tokenizer
from marco.tokenizers.pretrained import PretrainedTokenizer


def test_a_saved_folder(embedded: Tokenizer, corpus: Corpus, tmp_path: Path) -> None:
    embedded.save(tmp_path / "mine")
    (tmp_path / "mine" / "chat_template.jinja").write_text("{{ messages }}")
    settings = PretrainedTokenizer(str(tmp_path / "mine"))
    settings.check()
    loaded = settings.load(corpus)
    assert (loaded.name, loaded.fingerprint) == ("mine", embedded.fingerprint)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "chat_template.jinja").read_text() == "{{ messages }}"


def test_vocabulary_and_merges_are_converted(
    embedded: Tokenizer, corpus: Corpus, tmp_path: Path
) -> None:
    """The form in which Qwen2 was published first."""
    embedded.save(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(map(" ".join, model["merges"])))
    loaded = PretrainedTokenizer(str(tmp_path)).load(corpus)
    assert (len(loaded), loaded.end_of_text) == (len(embedded), embedded.end_of_text)
    for documents in corpus.held_out.values():
        assert loaded.encode(documents[0].text) == embedded.encode(documents[0].text)


def test_code_in_the_folder_is_not_executed(
    embedded: Tokenizer, corpus: Corpus, tmp_path: Path
) -> None:
    embedded.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.model").write_bytes(b"")
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    config = {"auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}, "tokenizer_class": "T"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="cannot be loaded"):
        PretrainedTokenizer(str(tmp_path)).load(corpus)
    assert not Path("executed").exists()


def test_what_is_missing_is_found_by_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.path is not set"):
        PretrainedTokenizer(None).check()
    (tmp_path / "smollm2").mkdir()
    with pytest.raises(ConfigError, match=r"smollm: the folder does not exist\. .*'smollm2'"):
        PretrainedTokenizer(str(tmp_path / "smollm")).check()
    with pytest.raises(ConfigError, match=r"smollm2: no tokenizer in that folder: tokenizer\.json"):
        PretrainedTokenizer(str(tmp_path / "smollm2")).check()
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        PretrainedTokenizer(str(tmp_path / "model.gguf")).check()
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(ConfigError, match="the folder does not exist"):
        PretrainedTokenizer(f"{tmp_path.name}/nothing").check()


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model", "not a name"])
def test_a_hub_name_that_gives_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, *args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(ConfigError, match=f"tokenizer.path={name}: no such folder here"):
        PretrainedTokenizer(name).check()
