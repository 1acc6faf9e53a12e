"""`marco export` of a run that `train.py` made."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support import environment
from transformers import AutoModelForCausalLM, AutoTokenizer

from marco.commands import main
from marco.errors import MarcoError
from marco.models.kernels import Kernels
from marco.training.export import hub
from marco.training.loading import ModelChoice

#: Loads a folder where marco cannot be imported, and prints logits as hexadecimal floats.
PLAIN = """
import json, sys
sys.modules["marco"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
import torch
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(sys.argv[2], return_tensors="pt", add_special_tokens=False)["input_ids"]
logits = model(ids).logits.detach().flatten()
print(json.dumps([ids[0].tolist(), [value.hex() for value in logits.tolist()]]))
"""
TEXT = "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa."


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_plain_transformers_gives_the_same_logits(finished: Path, tmp_path: Path) -> None:
    given = ["export", str(finished), f"output={tmp_path / 'out'}", "max_shard_size=100KB"]
    assert main(given) == 0
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    loaded = ModelChoice(str(finished), device="cpu").load(Kernels("reference"))
    ids = loaded.tokenizer.encode(TEXT)
    wanted = loaded.root.network(torch.tensor([ids])).logits.detach().flatten()
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "out"), TEXT],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found_ids, found = json.loads(done.stdout.splitlines()[-1])
    assert found_ids == ids
    assert found == [value.hex() for value in wanted.tolist()]


def test_the_card_says_what_the_run_did(finished: Path, tmp_path: Path) -> None:
    assert main(["export", str(finished), "output=mine"]) == 0
    text = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["language"] == ["en", "sw", "th"]
    assert "license" not in head
    summary = json.loads((finished / "summary.json").read_text())
    for code, name in {"eng": "English", "swh": "Swahili", "tha": "Thai"}.items():
        row = summary["ledger"]["languages"][code]
        assert f"| {name} ({code}) | {row['tokens']:,} |" in text
        value = summary["languages"][code]["bits_per_byte"]["after"]
        assert re.search(rf"{name} \({code}\) \| {value:.3f} \[\d+\.\d+, \d+\.\d+\]", text)
    assert "Trained from scratch: there was nothing to retain." in text
    assert "data.languages=[eng,swh,tha]" in text
    assert f"{summary['train']['tokens']:,} tokens of 3 languages" in text
    assert str(finished) not in text


def test_the_vocabulary_and_how_to_generate(finished: Path, tmp_path: Path) -> None:
    assert main(["export", str(finished), "output=mine", "dtype=bfloat16"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "mine")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "mine")
    assert network.dtype == torch.bfloat16
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert end in network.generation_config.eos_token_id
    assert network.generation_config.suppress_tokens is None or (
        min(network.generation_config.suppress_tokens) == len(tokenizer)
    )
    ids = tokenizer("Haki", return_tensors="pt", add_special_tokens=False)
    written = network.generate(**ids, max_new_tokens=8)
    assert int(written.max()) < len(tokenizer)


def test_a_merged_model_is_exported(finished: Path, tmp_path: Path) -> None:
    given = ["merge", "method=task_arithmetic", f"base={finished}", f"models=[{finished}]"]
    assert main([*given, "output=merged"]) == 0
    assert main(["export", "merged", "output=mine"]) == 0
    text = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "Merged by task_arithmetic" in text
    assert "These weights were not measured." in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["output=taken"], "output=taken exists already"),
        (["checkpoint=77777"], "has the steps"),
        (["checkpoint=bst"], "Did you mean 'best'?"),
        (["anchors=[englsh]"], "Unknown language 'englsh'"),
        (["max_shards=1"], "Did you mean 'max_shard_size'?"),
        (["push_to_hub=mine"], "should be <owner>/<name>"),
        (["scores=nowhere"], "No file nowhere"),
        (["--push-to-hub", "me/mine"], "there is no token of the Hugging Face hub"),
    ],
)
def test_mistakes(
    given: list[str],
    message: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (tmp_path / "taken").mkdir()
    assert main(["export", str(finished), *given]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


class Hub:
    """Stands for the hub's client: notes what it is asked."""

    calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, name: str, **options: Any) -> str:
        self.calls.append((name, options))
        return f"https://hub/{name}"

    def upload_folder(self, **options: Any) -> None:
        files = {path.name for path in Path(options["folder_path"]).iterdir()}
        self.calls.append((options["repo_id"], {"files": files}))


def test_it_is_pushed_when_asked(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Hub, "calls", [])
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    assert main(["export", str(finished), "output=quiet"]) == 0
    assert Hub.calls == []
    assert main(["export", str(finished), "output=mine", "--push-to-hub", "me/mine"]) == 0
    (created, uploaded) = Hub.calls
    assert created == ("me/mine", {"private": True, "exist_ok": True})
    assert uploaded[0] == "me/mine"
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= uploaded[1][
        "files"
    ]
    assert "https://hub/me/mine" in capsys.readouterr().out


def test_a_hub_that_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(MarcoError, match=r"push_to_hub=me/mine: .*The export is in"):
        hub.push(tmp_path, "me/mine", private=True)
