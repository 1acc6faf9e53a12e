"""`marco align` as it is typed, over a tiny model in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from marco.commands import main
from marco.commands.align import LANGUAGES, align
from marco.data.udhr import Udhr
from marco.errors import CheckpointError
from marco.languages import canonical
from marco.models.kernels import Kernels, install
from marco.tokenizers.embedded import EmbeddedTokenizer
from marco.training.loading import ModelChoice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    corpus = Udhr(languages=["eng", "swh"]).load()
    tokenizer = EmbeddedTokenizer(vocab_size=400).load(corpus).transformers()
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def test_text_json_and_a_plot(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["align", f"model.path={model}", "languages=[deu, Swahili]", "articles=26-30"]
    plot = tmp_path / "plot.png"
    assert main([*given, "output=json", f"plot={plot}"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["language"], line["n"]) for line in lines] == [("deu", 10), ("swh", 10)]
    assert [len(line["accuracies"]) for line in lines] == [3, 3]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(given) == 0
    shown = capsys.readouterr().out
    best = lines[0]["accuracies"][lines[0]["layer"]]
    assert f"German (deu){'10':>22}{0.1:>8.3f}{best:>7.3f}{lines[0]['layer']:>7}" in shown


def test_a_fused_model_gives_the_same(model: Path) -> None:
    loaded = ModelChoice(str(model)).load(Kernels("reference"))
    network, tokenizer = loaded.root.network, loaded.tokenizer
    plain = align(network, tokenizer, ["deu", "cmn"], articles="26-30", max_tokens=300)
    install(network, "torch")
    assert align(network, tokenizer, ["deu", "cmn"], articles="26-30", max_tokens=300) == plain


def test_a_model_without_numbers(model: Path) -> None:
    loaded = ModelChoice(str(model)).load(Kernels("reference"))
    torch.nn.init.constant_(loaded.root.network.model.embed_tokens.weight, torch.nan)
    with pytest.raises(CheckpointError, match="not numbers"):
        align(loaded.root.network, loaded.tokenizer, ["deu"], articles="26-30")


def test_the_languages_of_the_paper_are_languages() -> None:
    assert canonical(list(LANGUAGES)) == list(LANGUAGES)
    assert len(set(LANGUAGES)) == 29


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model.path=… must be given"),
        (["model.path=x", "langages=[swh]"], "Did you mean 'languages'?"),
        (["model.path=x", "output=yaml"], "output=yaml: text or json."),
        (["model.path=x", "centred=no"], "centred=no: true or false."),
        (["model.path=x", "max_tokens=many"], "max_tokens=many should be"),
        (["model.path=no/such/folder"], "model.path=no/such/folder"),
        (["model.path=MODEL", "languages=[eng]"], "none but English"),
        (["model.path=MODEL", "articles=99"], "articles=99"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [argument.replace("MODEL", str(model)) for argument in arguments]
    assert main(["align", *typed]) == 2
    shown = capsys.readouterr()
    assert "error: " in shown.err
    assert message in shown.err
    assert shown.out == ""
