from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marco.errors import CheckpointError
from marco.training import checkpoint
from marco.training.checkpoints import manifest as manifests
from marco.training.checkpoints.files import sha256_of_json
from marco.training.master_adamw import MasterAdamW


class Tiny(nn.Module):
    """An embedding tied to the head, buffers kept and not kept, a parameter without a gradient."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.norm = nn.LayerNorm(width)
        self.body = nn.Linear(width, width)
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.embed.weight
        self.unused = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cache", torch.zeros(3), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        self.seen += 1
        hidden = nn.functional.dropout(self.embed(ids), 0.2)
        return self.head(self.norm(self.body(hidden)))


class OtherName(Tiny):
    pass


def fused(model: nn.Module) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), fused=True)


def master(model: nn.Module) -> torch.optim.Optimizer:
    return MasterAdamW([{"params": list(model.parameters())}], 0.01, (0.9, 0.95), 1e-8)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        ids = torch.randint(11, (4, 6))  # data and dropout come from the restored generator
        loss = nn.functional.cross_entropy(model(ids).float().flatten(0, 1), ids.flatten())
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def save(folder: Path, model: nn.Module, optimizer: Any = None, step: int = 1, **more: Any) -> Path:
    values = {"progress": {"step": step}, "config": {"seed": 1}, "tokenizer_fingerprint": "tok"}
    values |= {"step": step, "tokens": step * 24, **more}
    return checkpoint.save(folder, model=model, optimizer=optimizer, **values)


def load(path: Path, model: nn.Module, optimizer: Any = None, **more: Any) -> checkpoint.Loaded:
    values = {"tokenizer_fingerprint": "tok", **more}
    return checkpoint.load(path, model=model, optimizer=optimizer, **values)


def contents(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    state = {
        f"{names[parameter]}/{key}": value.clone()
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    return {name: value.clone() for name, value in model.state_dict().items()} | state


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    model = Tiny()
    return [save(tmp_path, model, fused(model), step) for step in (1, 2, 3)]


@pytest.mark.parametrize(
    ("dtype", "build"), [(torch.float32, fused), (torch.bfloat16, fused), (torch.bfloat16, master)]
)
def test_training_goes_on_bit_for_bit(
    tmp_path: Path, dtype: torch.dtype, build: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    torch.manual_seed(0)
    model = Tiny().to(dtype)
    optimizer = build(model)
    train(model, optimizer, 3)
    path = save(tmp_path, model, optimizer, 3)
    saved, rates = contents(model, optimizer), [g["lr"] for g in optimizer.param_groups]
    uninterrupted = train(model, optimizer, 5)

    torch.manual_seed(99)
    other = Tiny().to(dtype)
    again = build(other)
    loaded = load(path, other, again)
    assert loaded.rng_restored
    assert (loaded.step, loaded.tokens, loaded.progress) == (3, 72, {"step": 3})
    restored = contents(other, again)
    assert restored.keys() == saved.keys()
    for name, value in saved.items():
        assert restored[name].dtype == value.dtype, name
        assert torch.equal(restored[name], value), name
    assert [group["lr"] for group in again.param_groups] == rates
    assert isinstance(again.param_groups[0]["betas"], tuple)
    assert train(other, again, 5) == uninterrupted


def test_master_weights_stay_float32_and_exact(tmp_path: Path) -> None:
    model = Tiny().bfloat16()
    optimizer = master(model)
    train(model, optimizer, 2)
    weight = optimizer.state[model.body.weight]["master"].clone()
    assert not torch.equal(weight, weight.bfloat16().float())  # a cast would be seen
    path = save(tmp_path, model, optimizer)
    other = Tiny().bfloat16()
    again = master(other)
    load(path, other, again)
    assert again.state[other.body.weight]["master"].dtype == torch.float32
    assert torch.equal(again.state[other.body.weight]["master"], weight)


def test_saving_before_the_first_step_changes_nothing(tmp_path: Path) -> None:
    model = Tiny()
    optimizer = fused(model)
    path = save(tmp_path, model, optimizer, 0)
    assert not optimizer.state
    other = Tiny()
    again = fused(other)
    train(other, again, 2)
    load(path, other, again)
    assert not again.state
    assert torch.equal(other.embed.weight, model.embed.weight)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    model = Tiny()
    path = save(tmp_path, model)
    index = json.loads((path / "state/index.json").read_text())
    names = [name for name in index if "weight" in name]
    assert names == ["model/body.weight", "model/embed.weight", "model/norm.weight"]
    other = Tiny()
    load(path, other)
    assert other.head.weight is other.embed.weight
    assert torch.equal(other.head.weight, model.head.weight)


def test_generators_continue_where_they_were(tmp_path: Path) -> None:
    random.gauss(0, 1)  # leaves half a pair behind
    np.random.standard_normal(3)
    path = save(tmp_path, Tiny())

    def draw() -> list[float]:
        numbers = [random.gauss(0, 1), random.random(), float(np.random.standard_normal())]
        return [*numbers, torch.rand(1).item()]

    first = draw()
    assert load(path, Tiny()).rng_restored
    assert draw() == first
    assert not load(path, Tiny(), restore_rng=False).rng_restored
    assert draw() != first


def test_manifest_says_what_it_is(tmp_path: Path) -> None:
    config = {"model": {"hidden_size": 8, "eps": 1e-6}, "languages": ["eng", "swh"], "x": None}
    path = save(tmp_path, Tiny(), config=config, step=120)
    assert path.name == "step-00000120"
    manifest = checkpoint.read_manifest(path)
    assert (manifest.step, manifest.tokens, manifest.world_size) == (120, 2880, 1)
    assert (manifest.architecture, manifest.tokenizer_fingerprint) == ("Tiny", "tok")
    assert manifest.config == config
    assert manifest.config_hash == sha256_of_json(config)
    assert manifest.packages["torch"] == torch.__version__
    there = {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()}
    assert set(manifest.files) == there - {"manifest.json"}
    assert (tmp_path / "last").resolve() == path.resolve()


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    first = save(tmp_path, Tiny(), progress={"try": 1})
    assert save(tmp_path, Tiny(), progress={"try": 2}) == first
    assert load(first, Tiny()).progress == {"try": 2}
    assert {path.name for path in tmp_path.iterdir()} == {first.name, "last"}


@pytest.mark.parametrize(
    ("progress", "where"),
    [
        ({"counters": {3: 1}}, "progress.counters has the key 3"),
        ({"history": [1, {"x": torch.ones(1)}]}, r"progress.history\[1\].x is a Tensor"),
    ],
)
def test_progress_that_json_would_change_is_refused(
    tmp_path: Path, progress: dict[str, Any], where: str
) -> None:
    with pytest.raises(CheckpointError, match=where):
        save(tmp_path, Tiny(), progress=progress)
    assert not list(tmp_path.iterdir())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "state/rank-00000.safetensors",
        "state/index.json",
        "progress.json",
        "optimizer.json",
        "rng/rank-00000.json",
        "manifest.json",
    ],
)
def test_damage_is_seen_and_the_previous_one_used(
    three: list[Path], name: str, damage: Callable[[Path], None]
) -> None:
    assert checkpoint.latest(three[0].parent) == three[2]
    damage(three[2] / name)
    assert any(name in problem for problem in checkpoint.verify(three[2]))
    model = Tiny()
    before = model.body.weight.clone()
    with pytest.raises(CheckpointError, match=name):
        load(three[2], model, fused(model))
    assert torch.equal(model.body.weight, before)
    with pytest.warns(checkpoint.CheckpointWarning, match=rf"00000003.*{name}"):
        assert checkpoint.latest(three[0].parent) == three[1]


def test_no_sound_checkpoint_is_none(three: list[Path], tmp_path: Path) -> None:
    for path in three:
        flip(path / "progress.json")
    with pytest.warns(checkpoint.CheckpointWarning):
        assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_another_model_is_refused_by_the_names_that_differ(tmp_path: Path) -> None:
    path = save(tmp_path, Tiny())
    with pytest.raises(
        CheckpointError, match=r"embed.weight has the shape \[11, 8\], in this model \[11, 9\]"
    ):
        load(path, Tiny(9))
    grown = Tiny()
    grown.extra = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"extra\.weight is not in the checkpoint"):
        load(path, grown)
    grown_path = save(tmp_path, grown, step=2)
    with pytest.raises(CheckpointError, match=r"extra\.weight is not in this model"):
        load(grown_path, Tiny())
    with pytest.raises(CheckpointError, match="it is a Tiny, this model a OtherName"):
        load(path, OtherName())


def test_resuming_in_another_type_is_refused_but_weights_load(tmp_path: Path) -> None:
    model = Tiny().bfloat16()
    path = save(tmp_path, model, fused(model))
    other = Tiny()
    with pytest.raises(CheckpointError, match=r"has the type torch\.bfloat16"):
        load(path, other, fused(other))
    load(path, other)
    assert torch.equal(other.body.weight, model.body.weight.float())


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, Tiny())
    with pytest.raises(CheckpointError, match=r"another tokenizer.*tok.*kot"):
        load(path, Tiny(), tokenizer_fingerprint="kot")
    assert load(path, Tiny(), tokenizer_fingerprint=None).step == 1


def test_another_grouping_of_parameters_is_refused(tmp_path: Path) -> None:
    model = Tiny()
    path = save(tmp_path, model, fused(model))
    with pytest.raises(CheckpointError, match="2 parameter groups, this one 1"):
        load(path, model, torch.optim.AdamW(model.parameters()))
    swapped = fused(model)
    swapped.param_groups.reverse()
    with pytest.raises(CheckpointError, match=r"group 0 differs.*body\.bias"):
        load(path, model, swapped)
    weights_only = save(tmp_path, model, step=2)
    with pytest.raises(CheckpointError, match="holds no optimizer"):
        load(weights_only, model, fused(model))


@pytest.mark.parametrize(("step", "advice"), [(1, "Update marco"), (-1, "Use an earlier marco")])
def test_another_format_is_an_error_not_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, advice: str
) -> None:
    other = manifests.FORMAT_VERSION + step
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "FORMAT_VERSION", other)
        path = save(tmp_path, Tiny())
    for read in (checkpoint.read_manifest, checkpoint.verify, lambda p: load(p, Tiny())):
        with pytest.raises(CheckpointError, match=rf"format {other}.*reads {other - step}"):
            read(path)
    with pytest.raises(CheckpointError, match=advice):
        checkpoint.latest(tmp_path)


def resign(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alter the manifest as someone would who knows the format."""
    body = json.loads((path / "manifest.json").read_text())
    body.pop("digest")
    change(body)
    body["digest"] = sha256_of_json(body)
    (path / "manifest.json").write_text(json.dumps(body))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "state/../../outside", "link"])
def test_a_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "checkpoints", Tiny())
    (tmp_path / "outside").write_text("x")
    (path / "link").symlink_to(tmp_path / "outside")
    resign(path, lambda body: body["files"].update({name: {"bytes": 1, "sha256": "0"}}))
    with pytest.raises(CheckpointError, match="outside the checkpoint's folder"):
        checkpoint.read_manifest(path)


class Exploit:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", [".metadata", "rank-00000.safetensors", "index.json"])
def test_a_pickle_is_never_run(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, Tiny())
    with (path / "state" / name).open("wb") as stream:
        torch.save(Exploit(tmp_path / "run"), stream)
    records = manifests.record_files(path, {})
    files = {n: {"bytes": r.bytes, "sha256": r.sha256} for n, r in records.items()}
    files.pop("manifest.json")
    resign(path, lambda body: body.update(files=files))
    if name == ".metadata":  # DCP's own pickled index: listed and vouched for, yet never opened
        assert load(path, Tiny()).step == 1
    else:
        with pytest.raises(CheckpointError, match="cannot be read"):
            load(path, Tiny())
    assert not (tmp_path / "run").exists()


def test_an_index_cannot_leave_gaps_or_read_other_files(tmp_path: Path) -> None:
    path = save(tmp_path, Tiny())
    index = json.loads((path / "state/index.json").read_text())

    def rewrite(change: dict[str, Any]) -> None:
        chunk = {**index["model/body.weight"]["chunks"][0], **change}
        altered = {**index["model/body.weight"], "chunks": [chunk]}
        text = json.dumps({**index, "model/body.weight": altered})
        (path / "state/index.json").write_text(text)
        record = manifests.record_files(path, {})["state/index.json"]
        entry = {"bytes": record.bytes, "sha256": record.sha256}
        resign(path, lambda body: body["files"].update({"state/index.json": entry}))

    rewrite({"file": "../../../outside.safetensors"})
    with pytest.raises(CheckpointError, match="which the manifest does not list"):
        load(path, Tiny())
    rewrite({"sizes": [4, 8]})
    with pytest.raises(CheckpointError, match=r"body\.weight do not make a whole"):
        load(path, Tiny())


def test_state_that_no_checkpoint_holds_is_refused(tmp_path: Path) -> None:
    class Extra(Tiny):
        def get_extra_state(self) -> str:
            return "more"

    with pytest.raises(CheckpointError, match="extra state"):
        save(tmp_path, Extra())
    with pytest.raises(CheckpointError, match="not the model's"):
        save(tmp_path, Tiny(), fused(Tiny()))
    complex_model = Tiny()
    complex_model.rotation = nn.Parameter(torch.ones(2, dtype=torch.complex128))
    with pytest.raises(CheckpointError, match=r"rotation has the type torch\.complex128"):
        save(tmp_path, complex_model)


def test_wrapped_models_share_names(tmp_path: Path) -> None:
    model = Tiny()
    optimizer = fused(model)
    train(model, optimizer, 1)
    path = save(tmp_path, torch.compile(model), optimizer)
    other = Tiny()
    again = fused(other)
    load(path, other, again)
    assert torch.equal(other.body.weight, model.body.weight)
