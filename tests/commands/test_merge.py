"""`marco merge`: what it checks, what it writes, and sweeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config

from marco.commands import main
from marco.data import Corpus, Document
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def vocabulary(text: str) -> Tokenizer:
    documents = [Document(f"{text} {number}", "swh", "test", str(number)) for number in range(50)]
    return EmbeddedTokenizer(320).load(Corpus({"swh": documents}, {}))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a model trained on from it, and a chat model, as folders of transformers."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARCO_CACHE", str(folder / "cache"))
        tokenizer = vocabulary("Watu wote wamezaliwa huru")
    for seed, name in enumerate(["base", "continued", "instruct"]):
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=320, **SHAPE))
        network.save_pretrained(folder / name, max_shard_size="20KB")
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        tokenizer.save(folder / name)
    (folder / "instruct" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    GenerationConfig(temperature=0.7, do_sample=True).save_pretrained(folder / "instruct")
    return folder


@pytest.fixture(autouse=True)
def _here(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def test_the_instruction_residual_is_a_chat_model(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "chat"
    given = ["method=instruction_residual", "base=base", "models=[continued,instruct]"]
    assert main(["merge", *given, f"output={output}"]) == 0
    base, continued, instruct = (weights(models / n) for n in ("base", "continued", "instruct"))
    found = weights(output)
    assert found.keys() == base.keys()
    for name, tensor in found.items():
        wanted = continued[name].double() + instruct[name].double() - base[name].double()
        torch.testing.assert_close(tensor.double(), wanted, rtol=0, atol=1e-6)
    tokenizer = AutoTokenizer.from_pretrained(output)
    message = [{"role": "user", "content": "Habari?"}]
    assert tokenizer.apply_chat_template(message, tokenize=False) == "Habari?"
    network = AutoModelForCausalLM.from_pretrained(output)
    assert network.generation_config.temperature == 0.7
    record = json.loads((output / "merge.json").read_text())
    assert record["method"] == "instruction_residual"
    assert [each["path"] for each in record["inputs"]] == ["base", "continued", "instruct"]


def test_a_sweep_makes_a_model_each(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "merged"
    given = ["method=slerp,task_arithmetic", "base=base", "models=[instruct]", "weights=0.0,1.0"]
    assert main(["merge", *given, f"output={output}"]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "method-slerp_weights-0.0",
        "method-slerp_weights-1.0",
        "method-task_arithmetic_weights-0.0",
        "method-task_arithmetic_weights-1.0",
    ]
    shown = capsys.readouterr().out
    assert f"marco evaluate model.path={output}/method-slerp_weights-0.0,{output}/" in shown
    ends = [weights(models / name) for name in ("base", "instruct")]
    for method in ("slerp", "task_arithmetic"):
        for weight, end in zip(("0.0", "1.0"), ends, strict=True):
            found = weights(output / f"method-{method}_weights-{weight}")
            for name, tensor in end.items():
                torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    assert not (output / "method-slerp_weights-0.0" / "chat_template.jinja").exists()


def test_another_type_is_rounded_once(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "merged"
    given = ["method=linear", "models=[base,instruct]", "dtype=bfloat16"]
    assert main(["merge", *given, f"output={output}"]) == 0
    base, instruct = (weights(models / name) for name in ("base", "instruct"))
    for name, tensor in weights(output).items():
        assert torch.equal(tensor, ((base[name] + instruct[name]) / 2).bfloat16())
    assert AutoModelForCausalLM.from_pretrained(output).dtype == torch.bfloat16


def test_dare_is_the_same_twice_however_it_is_sharded(tmp_path: Path) -> None:
    given = ["method=dare_ties", "base=base", "models=[continued,instruct]", "density=[0.3,0.6]"]
    for name, more in {"a": "seed=1", "b": "max_shard_size=9KB", "c": "seed=2"}.items():
        seed = [] if more.startswith("seed") else ["seed=1"]
        assert main(["merge", *given, more, *seed, f"output={tmp_path / name}"]) == 0
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert len(list((tmp_path / "b").glob("*.safetensors"))) > 2
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["method=tie", "models=[base]"], "Did you mean 'ties'?"),
        (["method=ties", "models=[continued]"], "method=ties needs base=…"),
        (["method=linear", "base=base", "models=[continued]"], "method=linear has no base"),
        (["method=linear", "models=[base]"], "needs two models or more"),
        (["method=slerp", "base=base", "models=[continued,instruct]"], "takes models=[other]"),
        (["method=instruction_residual", "base=base", "models=[continued]"], "not 1 models"),
        (["method=ties", "base=base", "models=[instrct]"], "models[0]: no folder instrct, and"),
        (["method=ties", "base=base", "models=[a/b]"], "the hub gave no such model"),
        (["method=ties", "base=base", "models=[instruct]", "density=0"], "density=0"),
        (["method=ties", "base=base", "models=[instruct]", "weights=[1,2]"], "a list of 1"),
        (["method=linear", "models=[base,instruct]", "weights=[1,-1]"], "sum to 0"),
        (["method=linear", "models=[base,instruct]", "like=instrct"], "Did you mean 'instruct'?"),
        (["method=linear", "models=[base,instruct]", "weigths=1"], "Did you mean 'weights'?"),
        (["method=linear", "models=[base,instruct]", "max_shard_size=big"], "max_shard_size=big"),
        (["method=linear", "models=[base,cache]"], "has no config.json"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", *given, f"output={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_left_alone(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "method=linear", "models=[base,instruct]", "output=base"]) == 2
    assert "output=base exists already" in capsys.readouterr().err


def test_one_wrong_point_of_a_sweep_writes_none(tmp_path: Path) -> None:
    given = ["method=task_arithmetic", "base=base", "models=[instruct],[nowhere]"]
    assert main(["merge", *given, f"output={tmp_path / 'out'}"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_other_models_are_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = Qwen2Config(vocab_size=320, **{**SHAPE, "intermediate_size": 64})
    AutoModelForCausalLM.from_config(wider).save_pretrained(tmp_path / "wider")
    faster = Qwen2Config(vocab_size=320, rope_parameters={"rope_theta": 5.0}, **SHAPE)
    AutoModelForCausalLM.from_config(faster).save_pretrained(tmp_path / "faster")
    for name, message in {
        "wider": "intermediate_size: 48 and 64",
        "faster": "'rope_theta': 5.0",
    }.items():
        given = ["method=linear", f"models=[base,{tmp_path / name}]"]
        assert main(["merge", *given, f"output={tmp_path / 'out'}"]) == 2
        shown = capsys.readouterr().err
        assert "different models, which cannot be merged" in shown
        assert message in shown


def test_other_vocabularies_are_refused(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    shutil.copytree(models / "continued", tmp_path / "other")
    vocabulary("Sheria itawalinda").save(tmp_path / "other")
    given = ["method=linear", f"models=[base,{tmp_path / 'other'}]"]
    assert main(["merge", *given, f"output={tmp_path / 'out'}"]) == 2
    assert "have different vocabularies" in capsys.readouterr().err


def test_tokens_more_are_no_other_vocabulary(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(models / "continued", tmp_path / "more")
    file = tmp_path / "more" / "tokenizer.json"
    tree = json.loads(file.read_text())
    entries = len(Tokenizer.from_folder(tmp_path / "more"))
    tree["added_tokens"].append({**tree["added_tokens"][0], "id": entries, "content": "<|more|>"})
    file.write_text(json.dumps(tree))
    given = ["method=linear", f"models=[base,{tmp_path / 'more'}]"]
    assert main(["merge", *given, f"output={tmp_path / 'out'}"]) == 0
    assert f"no id has two tokens: {entries} and {entries + 1} entries" in caplog.text
