from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from marco.config import Sources, compose, split_sweep
from marco.config.sweep import is_multirun
from marco.errors import ConfigError


def test_overrides_groups_and_experiments_compose(sources: Sources) -> None:
    cfg = compose(["experiment=swahili", "model=big", "optimizer.lr=2e-3"], sources=sources)
    assert cfg.model.hidden_size == 512
    assert cfg.optimizer.lr == 2e-3
    assert cfg.mix.weights.swh == 2
    assert cfg.schedule.tokens == cfg.tokens == 8192
    assert "hydra" not in cfg


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optimzer.lr=1", ["'optimzer.lr'", "Did you mean 'optimizer.lr'?"]),
        ("optimizer.lrr=1", ["'optimizer.lr'?", "optimizer has: lr, betas, clip"]),
        ("lr=1", ["Did you mean 'optimizer.lr'?"]),
        ("hidden_size=8", ["Did you mean 'model.hidden_size'?"]),
        ("model.hidden-size=8", ["'model.hidden_size'?"]),
        ("optimzer=adamw", ["Did you mean 'optimizer'?"]),
        ("experimnt=swahili", ["Did you mean 'experiment'?"]),
        ("batch={sequence_lenth: 3}", ["'batch.sequence_lenth'", "'batch.sequence_length'?"]),
        ("model=tny", ["model=tny", "Did you mean 'tiny'?", "big, tiny"]),
        ("model=null", ["choose one of big, tiny"]),
        ("experiment=swahli", ["Did you mean 'swahili'?"]),
        ("hydra/sweeper=nothing", ["hydra/sweeper", "basic", "marco-train[sweep]"]),
        ("seed", ["'seed'", "key=value"]),
        ("=3", ["no key"]),
        ("tags=[a", ["'tags=[a'"]),
        ("seed=1,2", ["sweep", "-m", "seed=[1,2]"]),
        ("seed=range(3)", ["sweep", "-m"]),
        ("~seeed", ["'seeed'", "'seed'?"]),
        ("data=files", ["data.path", "must be given"]),
        ("name=${nowhere}", ["nowhere"]),
        ("hydra.searchpath=[/no/such/folder]", ["hydra.searchpath", "/no/such/folder"]),
    ],
)
def test_a_wrong_override_is_one_error_with_the_right_name(
    sources: Sources, override: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override], sources=sources)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_key_that_other_options_have(sources: Sources, tmp_path: Path) -> None:
    def said(*overrides: str) -> str:
        with pytest.raises(ConfigError) as error:
            compose(list(overrides), sources=sources)
        return str(error.value)

    none = "unknown key 'mix.weights.eng': mix=uniform has no 'weights.eng'"
    for override in ("mix.weights.eng=2", "~mix.weights.eng", "mix={weights:{eng:2}}"):
        assert "mix=uniform has no 'weights" in said(override)
    assert said("mix.weights.eng=2") == f"{none}; mix=weights has."
    mine = tmp_path / "mine" / "mix"
    mine.mkdir(parents=True)
    search = f"hydra.searchpath=[file://{mine.parent}]"
    (mine / "broken.yaml").write_text("weights: [1, 2\nb: }\n")
    (mine / "of_all.yaml").write_text("# @package _global_\nweights: {eng: 1}\n")
    (mine / "own.yaml").write_text("weights: {eng: 1}\n")
    assert said(search, "mix.weights.eng=2") == f"{none}; mix=own and mix=weights have."
    for name in "abc":
        (mine / f"{name}.yaml").write_text("weights: {eng: 1}\n")
    assert said(search, "mix.weights.eng=2") == f"{none}; mix=a, mix=b, mix=c and 2 others have."


def test_an_entry_of_a_table_is_added_with_a_plus(sources: Sources) -> None:
    with pytest.raises(ConfigError, match=r"write \+mix\.weights\.yor="):
        compose(["mix=weights", "mix.weights.yor=1"], sources=sources)
    cfg = compose(["mix=weights", "+mix.weights.yor=1"], sources=sources)
    assert OmegaConf.to_container(cfg.mix.weights) == {"eng": 1.0, "swh": 2, "yor": 1}


def test_incomplete_configs_can_be_shown(sources: Sources) -> None:
    cfg = compose(["data=files"], sources=sources, complete=False)
    assert OmegaConf.missing_keys(cfg) == {"data.path"}


def test_the_users_own_tree_is_found(sources: Sources, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "model"
    mine.mkdir(parents=True)
    (mine / "own.yaml").write_text("_target_: toy_settings.Model\nhidden_size: 16\n")
    searchpath = f"hydra.searchpath=[file://{tmp_path}/mine]"
    assert compose([searchpath, "model=own"], sources=sources).model.hidden_size == 16
    with pytest.raises(ConfigError, match="big, own, tiny"):
        compose([searchpath, "model=missing_one"], sources=sources)
    extra = Sources(tree=sources.tree, extra=tmp_path / "mine")
    assert compose(["model=own"], sources=extra).model.hidden_size == 16
    with pytest.raises(ConfigError, match="--config-dir"):
        compose([], sources=Sources(tree=sources.tree, extra=tmp_path / "elsewhere"))


def test_a_users_broken_yaml_is_one_error(sources: Sources, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "model"
    mine.mkdir(parents=True)
    (mine / "broken.yaml").write_text("a: [1, 2\nb: }\n")
    (mine / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    (mine / "wrong.yaml").write_text("defaults:\n  - /optimizer@inner: adamm\n")
    for option, part in (("broken", "YAML"), ("latin", "utf-8"), ("wrong", "'adamw'?")):
        with pytest.raises(ConfigError, match=part):
            compose([f"hydra.searchpath=[{tmp_path}/mine]", f"model={option}"], sources=sources)


def test_a_sweep_is_split_as_the_basic_sweeper_runs_it(sources: Sources) -> None:
    points = split_sweep(["mix=uniform,weights", "seed=choice(1,2)", "name=x"], sources=sources)
    assert points == [
        ["mix=uniform", "seed=1", "name=x"],
        ["mix=uniform", "seed=2", "name=x"],
        ["mix=weights", "seed=1", "name=x"],
        ["mix=weights", "seed=2", "name=x"],
    ]
    assert len(split_sweep(["seed=range(1,5)", "model=glob(*)"], sources=sources)) == 8
    assert split_sweep(["seed=3"], sources=sources) == [["seed=3"]]


def test_sweep_points_keep_hydras_own_overrides(sources: Sources, tmp_path: Path) -> None:
    own = f"hydra.searchpath=[{tmp_path}]"
    assert split_sweep([own, "seed=1,2"], sources=sources)[1] == [own, "seed=2"]
    seeds = tmp_path / "tree" / "experiment" / "seeds.yaml"
    seeds.write_text("# @package _global_\nhydra: {sweeper: {params: {seed: '1,2,3'}}}\n")
    points = split_sweep(["experiment=seeds"], sources=sources)
    assert points == [[f"seed={seed}", "experiment=seeds"] for seed in (1, 2, 3)]


def test_a_sweep_over_nothing_is_an_error(sources: Sources) -> None:
    with pytest.raises(ConfigError, match="matches nothing"):
        split_sweep(["model=glob(z*)"], sources=sources)
    with pytest.raises(ConfigError, match="hydra/sweeper=search"):
        split_sweep(["optimizer.lr=interval(0,1)"], sources=sources)


def test_other_sweepers_are_checked_one_value_at_a_time(sources: Sources) -> None:
    other = "hydra.sweeper._target_=some.other.Sweeper"
    swept = ["seed=1,2", "optimizer.lr=interval(0.1,0.2)", "model=tiny,big"]
    points = [point[1:] for point in split_sweep([other, *swept], sources=sources)]
    assert points == [
        ["seed=1", "optimizer.lr=0.1", "model=tiny"],
        ["seed=2", "optimizer.lr=0.1", "model=tiny"],
        ["seed=1", "optimizer.lr=0.2", "model=tiny"],
        ["seed=1", "optimizer.lr=0.1", "model=big"],
    ]


def test_a_config_can_ask_for_a_sweep(sources: Sources) -> None:
    assert is_multirun(["hydra.mode=MULTIRUN"], sources=sources)
    assert not is_multirun([], sources=sources)
