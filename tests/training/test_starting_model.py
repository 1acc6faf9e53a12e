"""A run starts from another run's checkpoint, with rows for the tokens that chat adds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import FAST, last, train

from marco.config import load_config
from marco.data.documents import Corpus
from marco.errors import CheckpointError, ConfigError
from marco.tokenizers.pretrained import PretrainedTokenizer
from marco.tokenizers.tokenizer import Tokenizer
from marco.training.loading import ModelChoice
from marco.training.starting_model import StartingModel


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    options = [*FAST, "evaluation=none", "callbacks.checkpoint.every_tokens=null"]
    done = train(folder, *options, "tokens=1024")
    assert done.returncode == 0, done.stderr
    return last(folder)


def chat_tokenizer(run: Path) -> Tokenizer:
    settings = PretrainedTokenizer(str(run), chat=True)
    settings.check()
    return settings.load(Corpus({}, {}))


def test_its_weights_are_the_checkpoints_and_new_rows_are_their_mean(run: Path) -> None:
    from marco.training.loading import run_network

    choice = ModelChoice(str(run))
    place = choice.place()
    assert place is not None
    saved = run_network(*place)
    tokenizer = chat_tokenizer(run)
    rows = saved.config.vocab_size
    assert len(tokenizer) == len(Tokenizer.from_folder(run / "tokenizer")) + 2 > rows
    with pytest.raises(ConfigError, match=f"vocab_size={rows} is smaller"):
        StartingModel(str(run)).build(len(tokenizer), 0)
    for path in (run, place[1]):
        settings = StartingModel(str(path), grow=True)
        settings.check()
        grown = settings.build(len(tokenizer), 0)
        assert grown.config.vocab_size % 64 == 0
        old, new = saved.state_dict(), grown.state_dict()
        assert old.keys() == new.keys()
        for name, tensor in old.items():
            torch.testing.assert_close(new[name][: len(tensor)], tensor, rtol=0, atol=0)
        table = new["model.embed_tokens.weight"]
        expected = table[:rows].mean(0).expand(len(table) - rows, -1)
        torch.testing.assert_close(table[rows:], expected, rtol=0, atol=0)
    assert StartingModel(str(run)).vocabulary_rows() == rows


def test_the_tokenizer_of_a_run_or_its_checkpoint(run: Path) -> None:
    plain = Tokenizer.from_folder(run / "tokenizer")
    (checkpoint,) = (run / "checkpoints").glob("step-*")
    for path in (run, checkpoint):
        found = PretrainedTokenizer(str(path)).load(Corpus({}, {}))
        assert found.fingerprint == plain.fingerprint
        assert found.chat_template is None
    theirs = chat_tokenizer(run).transformers()
    assert theirs.eos_token == "<|im_end|>"
    ids = theirs.apply_chat_template([{"role": "user", "content": "a"}], return_dict=False)
    assert [ids.count(len(plain)), ids.count(len(plain) + 1)] == [2, 2]  # system and user


def test_what_is_not_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.checkpoint=7: "):
        StartingModel(str(run), checkpoint=7).check()
    with pytest.raises(ConfigError, match="is no run folder"):
        StartingModel(str(tmp_path), checkpoint="last").check()
    with pytest.raises(ConfigError, match="no such folder"):
        StartingModel(str(tmp_path / "nothing")).check()


def test_fine_tuning_from_runs_last_and_loading_what_came_out(run: Path) -> None:
    folder = run.parents[2]
    done = train(
        folder, "experiment=udhr_sft", "data.languages=[swh,eng]", "batch.sequences=2",
        "evaluation=none", "callbacks.checkpoint.every_tokens=null", "batch.sequence_length=256",
        "logger=none", "tokens=2048",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tuned = last(folder)
    assert tuned != run
    assert load_config(tuned).model.path == str(run)  # not runs/last, which is now itself
    from marco.models.kernels import Kernels

    loaded = ModelChoice(str(tuned), device="cpu").load(Kernels())
    assert loaded.tokenizer.chat_template is not None
    before = StartingModel(str(run), grow=True).build(len(loaded.tokenizer), 0).state_dict()
    after = loaded.root.network.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
