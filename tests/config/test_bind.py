from __future__ import annotations

from typing import Any

import pytest

from marco.config import Deferred, Sources, bind, bind_all, bind_named, compose
from marco.config.keys import dotted_keys, nearest_key
from marco.errors import ConfigError


def bound(overrides: list[str], sources: Sources) -> Any:
    return bind_all(compose(overrides, sources=sources))


def test_a_right_config_becomes_settings_objects(sources: Sources) -> None:
    run = bound(["mix=groups", "optimizer.lr=1", "callbacks.throughput=null"], sources)
    assert run.model.hidden_size == 64
    assert run.optimizer.lr == 1.0
    assert isinstance(run.optimizer.lr, float)
    assert run.optimizer.betas == (0.9, 0.95)
    assert run.mix.groups["low"].share == 0.6
    assert type(run.mix.groups["low"].within).__name__ == "Uniform"
    assert run.schedule.tokens == 4096
    assert run.batch.tokens == 128
    assert list(run.callbacks) == ["progress"]


def test_callbacks_are_checked_first_and_created_later(sources: Sources) -> None:
    import toy_settings

    progress = bound([], sources).callbacks["progress"]
    assert isinstance(progress, Deferred)
    created = progress.create(toy_settings.Base)
    assert (created.every, created.label) == (10, None)
    with pytest.raises(ConfigError, match=r"callbacks\.progress\._target_: Progress is no dict"):
        progress.create(dict)
    refuses = bind_named({"no": {"_target_": "toy_settings.Refuses", "every": 1}}, "callbacks")
    with pytest.raises(ConfigError, match=r"callbacks\.no: Refuses refuses this: every is out"):
        refuses["no"].create(object)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optimizer.lr=fast", ["optimizer.lr should be a number, got 'fast'"]),
        ("optimizer.lr=true", ["optimizer.lr should be a number, got true"]),
        ("optimizer.lr=nan", ["optimizer.lr should be a number"]),
        ("optimizer.lr=null", ["optimizer.lr should be a number, got null"]),
        ("optimizer.lr='\"0.1\"'", ["optimizer.lr should be a number"]),
        ("optimizer.clip=x", ["optimizer.clip should be a number or null, got 'x'"]),
        ("optimizer.betas=[0.9,b]", ["optimizer.betas[1] should be a number, got 'b'"]),
        ("optimizer.betas=[0.9]", ["optimizer.betas should hold 2 values, got 1"]),
        ("+optimizer.weight_decay=1", ["'optimizer.weight_decay'", "lr, betas, clip"]),
        ("+optimizer.bettas=1", ["Did you mean 'optimizer.betas'?"]),
        ("+optimizer._partial_=true", ["only _target_"]),
        ("~optimizer.lr", ["optimizer.lr must be given", "Optimizer"]),
        ("model.dtype=fp31", ["one of 'fp32', 'bf16'", "Did you mean 'fp32'?"]),
        ("model.hidden_size=65", ["model.hidden_size=65 should be a multiple of 8"]),
        ("data.languages=eng", ["data.languages should be a list", "Write [eng]"]),
        ("data.languages=[eng,false]", ["data.languages[1]", "quote it"]),
        ("data.path=3", ["data.path should be text, got 3. Quote it"]),
        ("tokens=8192.0", ["tokens should be a whole number, got 8192.0. Write 8192."]),
        ("tokens=many", ["tokens should be a whole number"]),
        ("tokens=127", ["tokens=127", "one global batch", "128 tokens"]),
        ("seed=-1", ["seed=-1"]),
        ("seed=4294967296", ["seed=4294967296"]),
        ("name=../up", ["name='../up'"]),
        ("name=last", ["name='last'"]),
        ("name=''", ["name=''"]),
        ("tags=[a,a]", ["tags="]),
        ("resume=''", ["resume"]),
        ("batch.micro_sequences=3", ["multiple of batch.micro_sequences=3"]),
        ("batch.sequences=0", ["batch.sequences=0"]),
        ("+batch.size=3", ["'batch.size'", "sequence_length"]),
        ("batch=3", ["batch should be a group of keys, got 3"]),
        ("+sede=3", ["unknown key 'sede'. Did you mean 'seed'?"]),
        ("+learning_rate=3", ["unknown key 'learning_rate'"]),
        ("+lr=3", ["Did you mean 'optimizer.lr'?"]),
        ("~tags", ["tags must be given"]),
        ("~model", ["model must be given"]),
        ("callbacks.progress.every=often", ["callbacks.progress.every should be a whole number"]),
        ("+callbacks.progress.evry=3", ["Did you mean 'callbacks.progress.every'?"]),
        ("+callbacks.other={every: 3}", ["callbacks.other should be null or have a _target_"]),
        ("model._target_=toy_settings.Modell", ["'toy_settings' has no 'Modell'", "'Model'?"]),
        ("model._target_=toy_setings.Model", ["no module 'toy_setings'"]),
        ("model._target_=marco.erors.Model", ["no module 'marco.erors'", "'marco.errors'?"]),
        ("model._target_=toy_settings.function", ["is no class"]),
        ("model._target_=3", ["_target_"]),
        ("callbacks.progress._target_=toy_settings.Sloppy", ["**kwargs", "wrap it"]),
        ("callbacks.progress._target_=toy_settings.Unresolved", ["NotImported"]),
        ("callbacks.progress._target_=builtins.type", ["wrap it"]),
    ],
)
def test_a_wrong_value_or_key_is_named_with_what_is_right(
    sources: Sources, override: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        bound([override], sources)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_nested_nodes_are_bound_with_their_path(sources: Sources) -> None:
    wrong = "+mix.groups.low.within.alpha=0.3"
    with pytest.raises(ConfigError, match=r"unknown key 'mix\.groups\.low\.within\.alpha'"):
        bound(["mix=groups", wrong], sources)
    with pytest.raises(ConfigError, match=r"mix\.groups\.low\.share should be a number"):
        bound(["mix=groups", "mix.groups.low.share=half"], sources)
    with pytest.raises(ConfigError, match=r"mix\.weights\.eng should be a number"):
        bound(["mix=weights", "mix.weights.eng=all"], sources)


def test_a_node_of_the_wrong_class_is_refused(sources: Sources) -> None:
    node = {"_target_": "toy_settings.Groups", "groups": {"a": {"_target_": "toy_settings.Model"}}}
    node["groups"]["a"]["hidden_size"] = 8  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"mix\.groups\.a should be a group of keys, got a Model"):
        bind(node, "mix")


def test_optional_groups_may_be_null_and_others_may_not(sources: Sources) -> None:
    tree = compose([], sources=sources)
    tree.logger = None
    tree.callbacks = {}
    run = bind_all(tree)
    assert run.logger is None
    assert run.callbacks == {}
    tree.mix = None
    with pytest.raises(ConfigError, match="mix is null"):
        bind_all(tree)


def test_a_logger_can_be_a_table_of_loggers(sources: Sources) -> None:
    tree = compose([], sources=sources)
    from omegaconf import OmegaConf, open_dict

    with open_dict(tree):
        tree.logger = OmegaConf.create({"one": tree.logger, "two": None})
    run = bind_all(tree)
    assert list(run.logger) == ["one"]
    assert run.logger["one"].project == "trial"


def test_untyped_values_pass_and_hold_nested_objects(sources: Sources) -> None:
    inner = {"_target_": "toy_settings.Uniform"}
    loose = bind({"_target_": "toy_settings.Loose", "anything": [1, {"a": inner}]}, "x")
    assert loose.anything[0] == 1
    assert type(loose.anything[1]["a"]).__name__ == "Uniform"


def test_a_missing_dependency_is_named(
    sources: Sources, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules" / "needs_more.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ConfigError, match="needs the package 'not_installed_anywhere'"):
        bind({"_target_": "needs_more.Thing"}, "model")
    (tmp_path / "modules" / "no_python.py").write_text("def broken(:\n")
    with pytest.raises(ConfigError, match="importing 'no_python' failed"):
        bind({"_target_": "no_python.Thing"}, "model")


def test_the_light_groups_are_bound_before_the_callbacks_are_imported(sources: Sources) -> None:
    callbacks = "callbacks.progress._target_=not.there.Progress"
    with pytest.raises(ConfigError, match="optimizer"):
        bound([callbacks, "optimizer.lr=fast"], sources)


def test_nearest_key_prefers_the_right_name_in_the_wrong_place() -> None:
    keys = list(dotted_keys({"optimizer": {"lr": 1, "_target_": "x"}, "model": {"layers": 2}}))
    assert keys == ["optimizer", "optimizer.lr", "optimizer._target_", "model", "model.layers"]
    assert nearest_key("model.lr", keys) == " Did you mean 'optimizer.lr'?"
    assert nearest_key("modle.layers", keys) == " Did you mean 'model.layers'?"
    assert nearest_key("_target_", keys) == ""
    assert nearest_key("zzz", keys) == ""
