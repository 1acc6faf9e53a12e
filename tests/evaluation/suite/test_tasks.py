"""Names, groups, tags and patterns of a task set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from marco.config.bind import bind
from marco.errors import ConfigError
from marco.evaluation.suite.index import _scan, configs_of, lm_eval_index, task_manager
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve

TASK = "task: {name}\ntag: {tag}\ndataset_path: nobody/nothing\ntest_split: test\n"


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str]:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, tag in (("mine_b", "mine"), ("mine_a", "mine"), ("mine_c", "mgsm_direct")):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, tag=tag))
    (folder / "_shared.yaml").write_text("output_type: multiple_choice\n")
    return (str(folder),)


def named(*names: str, include_path: tuple[str, ...] = ()) -> list[str]:
    return resolve("some", TaskSet(list(names)), include_path)


def test_groups_tags_and_patterns_stand_for_tasks() -> None:
    assert len(named("xcopa")) == 11
    assert set(named("xcopa_*")) == {*named("xcopa"), "xcopa_eu"}  # Basque, of another group
    assert "mgsm_direct_sw" in named("mgsm_direct")
    assert len(named("mmlu")) == 57
    assert len(named("mmlu_continuation")) == 57  # its groups are defined inside it
    assert len(named("belebele")) == 122


def test_each_once_in_the_order_of_the_names() -> None:
    expected = ["xcopa_zh", "xcopa_id", "xcopa_it"]
    assert named("xcopa_zh", "xcopa_i?", "xcopa_id") == expected


def test_a_pattern_means_groups_only_where_it_matches_no_task() -> None:
    assert named("xcop*") == named("xcopa_*")  # and not the group xcopa beside
    assert named("afrimmlu-iroko*") == named("afrimmlu-irokobench")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("belebele_eng_Latin", "belebele_eng_Latn"),
        ("bellebele_*", "belebele"),
        ("xcopa_zz", "xcopa_"),
    ],
)
def test_an_unknown_name_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=rf"evaluation\.tasks\.some\.names: .*'{right}"):
        named(wrong)


def test_a_group_that_changes_its_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="'openllm' changes fewshot_split, num_fewshot"):
        named("openllm")


def test_a_users_tasks(mine: tuple[str], tmp_path: Path) -> None:
    assert named("mine", include_path=mine) == ["mine_a", "mine_b"]
    assert named("mine_*", include_path=mine) == ["mine_a", "mine_b", "mine_c"]
    shared = named("mgsm_direct", include_path=mine)
    assert {"mine_c", "mgsm_direct_sw"} < set(shared)
    assert configs_of("mine_a", mine)["dataset_path"] == "nobody/nothing"
    with pytest.raises(ConfigError, match=r"evaluation\.include_path: there is no folder"):
        named("mine", include_path=(str(tmp_path / "nowhere"),))


def test_a_users_yaml_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("task: [unclosed\n")
    with pytest.raises(ConfigError, match=r"The task file .*bad\.yaml cannot be read"):
        named("xcopa", include_path=(str(tmp_path),))


def test_a_config_is_read_with_its_includes_and_builds_nothing() -> None:
    config = configs_of("belebele_swh_Latn")
    assert config["dataset_path"] == "facebook/belebele"
    assert (config["dataset_name"], config["test_split"]) == ("swh_Latn", "test")
    assert config["output_type"] == "multiple_choice"
    assert [metric["metric"] for metric in config["metric_list"]] == ["acc", "acc_norm"]
    with pytest.raises(ConfigError, match="no task 'belebele'"):
        configs_of("belebele")


def test_the_names_are_those_of_lm_evals_own_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(sys.modules["lm_eval.tasks"].__file__).parent / "mgsm"
    own = TaskManager(include_path=str(folder), include_defaults=False)
    index = lm_eval_index()
    for name, entry in own.task_index.items():
        assert index[name].kind is entry.kind
        assert index[name].yaml_path == entry.yaml_path
        assert index[name].tags >= entry.tags
    assert _scan(folder).count('"TASK"') == len(own.all_subtasks) == 33
    manager = task_manager()
    assert set(own.all_tasks) < set(manager.all_tasks)
    assert set(own.all_tags) < set(manager.all_tags)
    assert "xcopa" in manager.all_groups


def test_own_names_need_none_of_lm_evals(mine: tuple[str]) -> None:
    program = (
        "from marco.evaluation.suite import index, tasks\n"
        "from marco.evaluation.suite.task_set import TaskSet\n"
        f"print(tasks.resolve('some', TaskSet(['mine_a', 'mine_b']), {mine!r}))\n"
        "assert index.lm_eval_index.cache_info().currsize == 0\n"
        f"tasks.resolve('some', TaskSet(['mine_*']), {mine!r})\n"
        "assert index.lm_eval_index.cache_info().currsize == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['mine_a', 'mine_b']"


def test_a_task_set_is_a_plain_mapping_in_a_config() -> None:
    target = "marco.evaluation.suite.task_set.TaskSet"
    bound = bind({"_target_": target, "names": ["xcopa"], "shots": 5, "split": None}, "x")
    assert bound == TaskSet(["xcopa"], shots=5)
    with pytest.raises(ConfigError, match=r"unknown key 'x\.shot'"):
        bind({"_target_": target, "names": ["xcopa"], "shot": 5}, "x")


@pytest.mark.parametrize(
    "wrong", [{"names": []}, {"shots": -1}, {"metrics": []}, {"split": ""}, {"language": "xx"}]
)
def test_a_task_set_refuses_what_makes_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TaskSet(**{"names": ["xcopa"], **wrong})


def test_a_task_set_needs_no_lm_eval() -> None:
    program = (
        "import sys; import marco.evaluation.suite.task_set, marco.evaluation.suite.languages\n"
        "assert 'lm_eval' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
