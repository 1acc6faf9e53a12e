"""`marco generate` on a run that `train.py` made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from marco.commands import main
from marco.data.udhr import Udhr
from marco.models.kernels import Kernels
from marco.training.loading import ModelChoice

SMALL = ("kernels=reference", "max_new_tokens=6")
Generate = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def generate(finished: Path, capsys: pytest.CaptureFixture[str]) -> Generate:
    """Run the command; returns its lines of JSON."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        given = (f"model.path={finished}", "output=json", *SMALL, *arguments)
        assert main(["generate", *given]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_it_writes_what_transformers_does(finished: Path, generate: Generate) -> None:
    text = "Watu wote, 'huru' na {sawa}=1"  # no syntax of any kind in there
    (made,) = generate(f"prompt={text}")
    loaded = ModelChoice(str(finished)).load(Kernels("reference"))
    ids = torch.tensor([loaded.tokenizer.encode(text)])
    whole = loaded.root.generate(ids, max_new_tokens=6, do_sample=False)
    expected = loaded.tokenizer.transformers().decode(
        whole[0, ids.shape[1] :], skip_special_tokens=True
    )
    assert made == {
        "prompt": text,
        "language": None,
        "text": expected,
        "reference": None,
        "wrong_language": None,
    }


def test_a_language_gives_its_own_prompts(generate: Generate) -> None:
    made = generate("language=[swh,tha]")
    held_out = Udhr(languages=["swh", "tha"]).load().held_out
    texts = [document.text for code in ("swh", "tha") for document in held_out[code]]
    assert [each["prompt"] + each["reference"] for each in made] == texts
    assert {each["language"] for each in made} == {"swh", "tha"}


def test_a_file_of_prompts_and_the_seed_of_sampling(generate: Generate, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Kila mtu", "language": "sw"}\n\n{"prompt": "Every"}\n')
    options = (f"file={file}", "temperature=1.0", "max_new_tokens=12")
    first = generate(*options)
    assert [each["language"] for each in first] == ["swh", None]
    assert generate(*options) == first
    assert generate(*options, "seed=1") != first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what to go on with"),
        (["prompt=a", "file=b"], "not both"),
        (["file=nowhere.txt"], "there is no such file"),
        (["language=swahilli"], "Did you mean 'Swahili'"),
        (["prompt=a", "language=[swh,tha]"], "one prompt is in one language"),
        (["prompt=a", "temperature=-1"], "sampling needs one above 0"),
        (["prompt=a", "max_new_tokens=4096"], "leaves no room for a prompt"),
        (["prompt=a", "temprature=1"], "Did you mean 'temperature'"),
        (["prompt=a", "chat=true"], "has no chat template, so this is no chat model"),
        (["language=acm"], "no declaration in Mesopotamian Arabic"),
    ],
)
def test_what_is_wrong_is_said(
    finished: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"model.path={finished}", "kernels=reference", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_bad_lines_are_named(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ('{"prompt": "a"}\n{"text": "b"}\n', '{"prompt": "a"}\n{"prompt": ""}\n', "\n"):
        file = tmp_path / "bad.jsonl"
        file.write_text(content)
        assert main(["generate", f"model.path={finished}", f"file={file}"]) == 2
        message = capsys.readouterr().err
        assert "line 2" in message or "holds no prompt" in message
