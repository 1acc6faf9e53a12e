"""Every YAML composes, binds, says when to choose it, and (at tiny size) becomes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from marco.config import (
    RunSettings,
    Sources,
    bind_all,
    bind_root,
    compose,
    conf_dir,
    container,
)
from marco.config.evaluate import EvaluateSettings
from marco.config.export import ExportSettings
from marco.config.generate import GenerateSettings
from marco.config.judge import JudgeSettings
from marco.config.merge import MergeSettings
from marco.data.documents import Corpus
from marco.data.fingerprint import stamp
from marco.data.virtual import VirtualData
from marco.errors import ConfigError
from marco.models.build import parameter_count
from marco.tokenizers.qwen2 import QwenTokenizer
from marco.training.checks import check_run, check_settings
from marco.training.recipe.run import start

ROOT = Path(conf_dir())
ALL = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT)
RECIPES = [path for path in ALL if path.parent.name == "recipe"]
#: W&B's own, in its own format: tests/config/test_wandb_sweep.py.
SWEEPS = [path for path in ALL if path.parent.name == "wandb_sweep"]
FILES = [path for path in ALL if path not in RECIPES and path not in SWEEPS]
#: The roots of commands, what they are bound to, and what they cannot do without.
COMMANDS = {
    "evaluate": (EvaluateSettings, []),
    "generate": (GenerateSettings, ["prompt=Habari"]),
    "judge": (JudgeSettings, ["questions=q.jsonl", "judge.url=http://a:1/v1", "judge.model=b"]),
}
#: The roots of those that load no model.
FILE_COMMANDS = {
    "export": (ExportSettings, ["run=runs/last"]),
    "merge": (MergeSettings, ["method=ties", "base=a", "models=[b,c]", "output=d"]),
}
SMALL = [
    "model.hidden_size=32",
    "model.intermediate_size=48",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.num_key_value_heads=1",
    "model.vocab_size=null",
]


def option(path: Path) -> tuple[str, str]:
    """The group and the option's name, as on a command line."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "experiment":  # experiment=debug/fast
        return "experiment", relative.relative_to("experiment").with_suffix("").as_posix()
    return relative.parent.as_posix(), path.stem


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks make sure that `runs` can be written to."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A tiny pretrained model with its tokenizer."""
    run = bind_all(compose(["logger=none", "tokenizer.vocab_size=400", *SMALL]))
    tokenizer = run.tokenizer.load(run.data.load())
    run.model.build(len(tokenizer), 0).save_pretrained(tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    lines = "\n\n".join(f"Hati namba {number}." for number in range(60))
    (tmp_path / "texts" / "swh.txt").write_text(lines)
    return tmp_path / "texts"


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    (tmp_path / "preferences").mkdir()
    line = json.dumps({"prompt": "Haki za", "chosen": " binadamu", "rejected": " rights"})
    (tmp_path / "preferences" / "swh.jsonl").write_text(line)
    return tmp_path / "preferences"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """One stamped shard of two documents."""
    folder = tmp_path / "shards" / "swh"
    folder.mkdir(parents=True)
    tokenizer = bind_all(compose(["tokenizer=qwen2"])).tokenizer.load(Corpus({}, {}))
    end = tokenizer.end_of_text
    np.array([*tokenizer.encode("Haki"), end, *tokenizer.encode("za"), end], "<u4").tofile(
        folder / "0.ds"
    )
    ends = [len(tokenizer.encode("Haki")) + 1]
    ends.append(ends[0] + len(tokenizer.encode("za")) + 1)
    np.array(ends, "<u8").tofile(folder / "0.ds.index")
    stamp(folder, tokenizer)
    return folder.parent


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    (tmp_path / "chats").mkdir()
    turn = {"instruction": "Habari?", "output": "Nzuri."}
    (tmp_path / "chats" / "swh.jsonl").write_text(json.dumps(turn))
    return tmp_path / "chats"


@pytest.fixture
def needed(
    weights: Path, texts: Path, shards: Path, chats: Path, preferences: Path
) -> dict[tuple[str, str], list[str]]:
    """What an option cannot do without on the command line."""
    place = f"model.path={weights}"
    answers = ["objective=dpo", "batch.packing=best_fit"]
    return {
        ("model", "pretrained"): [place, "tokenizer=pretrained"],
        ("tokenizer", "pretrained"): [place, "model=pretrained"],
        ("data", "files"): [f"data.path={texts}"],
        ("data", "shards"): [
            f"data.path={shards}",
            "tokenizer=qwen2",
            "+data.held_out._target_=marco.data.udhr.Udhr",
            "+data.held_out.languages=[swh]",
        ],
        ("data", "chat"): [
            f"data.path={chats}",
            "tokenizer=qwen2",
            "+data.held_out._target_=marco.data.udhr.Udhr",
            "+data.held_out.languages=[swh]",
        ],
        ("data", "chat_embedded"): ["tokenizer=qwen2"],
        ("tokenizer", "chat"): [place, "model=pretrained", "model.grow=true"],
        ("experiment", "smollm2_swahili_yoruba"): [place],
        ("experiment", "smollm2_swahili_yoruba_lora"): [place],
        ("experiment", "udhr_sft"): [place],
        ("data", "preference"): [
            f"data.path={preferences}",
            "tokenizer=qwen2",
            "+data.held_out._target_=marco.data.udhr.Udhr",
            "+data.held_out.languages=[swh]",
            *answers,
        ],
        ("data", "preference_embedded"): answers,
        **{
            ("objective", name): ["data=preference_embedded", "batch.packing=best_fit"]
            for name in ("dpo", "ipo", "orpo", "simpo")
        },
        ("experiment", "udhr_dpo"): [place],
        ("experiment", "marco/sft"): [place, f"data.path={chats}", "model.grow=true"],
        ("experiment", "marco/dpo"): [place, f"data.path={preferences}", "model.grow=true"],
        ("evaluation", "none"): ["callbacks.checkpoint.every_tokens=null"],
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(option(path)))
def test_every_option(path: Path, needed: dict[tuple[str, str], list[str]]) -> None:
    group, name = option(path)
    overrides = [f"{group}={name}", *needed.get((group, name), [])]
    run = bind_all(compose(overrides))
    if isinstance(run.data, VirtualData):  # planned, never trained
        check_settings(run)
        with pytest.raises(ConfigError, match="not trained on"):
            check_run(run)
        assert sum(run.mix.shares(run.data.source_sizes(), run.tokens).values()) == pytest.approx(1)
        return
    check_run(run)
    build(group, name, run)
    if group not in ("experiment", "debug"):
        check_run(bind_all(compose([*overrides, "debug=fast"])))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe(path: Path, chats: Path, preferences: Path) -> None:
    published = path.stem.startswith("marco_")  # on data that never was
    text = [f"sft.data.path={chats}", f"dpo.data.path={preferences}"] if published else []
    overrides = [f"recipe={path.stem}", "logger=none", *text]
    assert start([*overrides, "recipe.dry_run=true"], Sources(), check_run) == 0
    if published:
        with pytest.raises(ConfigError, match=r"in step stage1 .*not trained on"):
            start(overrides, Sources(), check_run)


@pytest.mark.parametrize("path", ALL, ids=lambda path: "/".join(option(path)))
def test_every_option_says_when_to_choose_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert first.startswith("# ")
    assert len(first) > 30, first


def test_every_root_is_a_commands() -> None:
    roots = {path.stem for path in ROOT.glob("*.yaml")}
    assert roots == {"train", "recipe", *COMMANDS, *FILE_COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_root_binds(name: str, weights: Path) -> None:
    root, needed = COMMANDS[name]
    needed = [f"model.path={weights}", *needed]
    if name == "judge":
        needed.append(f"baseline.path={weights}")
    cfg = container(compose(needed, sources=Sources(name=name)))
    settings = bind_root({"data": None, **cfg} if name == "evaluate" else cfg, root)
    assert settings.model.path == str(weights)
    assert settings.kernels.backend == "auto"
    comment = (ROOT / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert comment.startswith(f"# The root of `marco {name}`")


@pytest.mark.parametrize("name", FILE_COMMANDS)
def test_every_root_without_a_model_binds(name: str) -> None:
    root, needed = FILE_COMMANDS[name]
    cfg = container(compose(needed, sources=Sources(name=name)))
    assert isinstance(bind_root(cfg, root), root)
    comment = (ROOT / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert comment.startswith(f"# The root of `marco {name}`")


def build(group: str, name: str, run: RunSettings) -> None:
    """Make what the group configures, and look at it."""
    match group:
        case "model":
            if hasattr(run.model, "hidden_size"):
                shrunk = bind_all(compose([f"model={name}", *SMALL])).model
                assert shrunk.build(300, 0).config.model_type == run.model.architecture
            else:
                assert run.model.build(300, 0).config.hidden_size == 32
        case "tokenizer":
            tokenizer = run.tokenizer.load(run.data.load())
            assert tokenizer.decode(tokenizer.encode("Haki za binadamu")) == "Haki za binadamu"
        case "data":
            corpus = run.data.load()
            assert list(corpus.held_out) == run.data.language_codes()
            tokenizer = QwenTokenizer().load(corpus)
            sources = run.data.open_sources(corpus, tokenizer)
            assert [source.name for source in sources] == run.data.source_names()
            assert all(len(source.store) for source in sources)
        case "mix":
            sizes = dict.fromkeys(run.data.language_codes(), 10000)
            shares = run.mix.shares(sizes, 100_000)
            assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
        case "adapter":
            network = run.model.build(300, 0)
            run.adapter.put_into(network, seed=0)
            assert 0 < parameter_count(network, trained=True) < parameter_count(network) / 2
        case "optimizer":
            optimizer = run.optimizer.build(torch.nn.Linear(2, 2))
            assert optimizer.param_groups[0]["lr"] == run.optimizer.lr
        case "schedule":
            assert run.schedule.factor(0.5) <= 1
        case "trainer":
            assert run.trainer.devices in (1, 2)
        case "callbacks":
            made = [node.create(pl.Callback) for node in run.callbacks.values()]
            assert len({callback.state_key for callback in made}) == len(made)
        case "experiment" | "debug":
            assert run.tokens >= run.batch.tokens
            if not name.startswith("smollm2_swahili_yoruba"):  # its own vocabulary is not here
                assert list(shares_of(run)) == run.data.source_names()
        case _:
            assert getattr(run, group, run) is not None


def shares_of(run: RunSettings) -> dict[str, float]:
    """The shares of the text and the budget that the config names: it must be possible."""
    corpus = run.data.load()
    sources = run.data.open_sources(corpus, run.tokenizer.load(corpus))
    sizes = {source.name: len(source.store) for source in sources}
    shares: dict[str, float] = run.mix.schedule(sizes, run.tokens).shares_at(0)
    return shares


def test_precision_and_kernels_are_what_is_documented() -> None:
    with pytest.raises(ConfigError, match="kernels"):
        bind_all(compose(["kernels.backend=tritom"]))
