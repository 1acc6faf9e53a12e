"""What a run tells W&B is what its own files say; and a run that a W&B agent starts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import FAST, last, metrics, train
from wandb_file import column_types, history, read_records, tables

from marco.config import conf_dir
from marco.evaluation.history import read_history, to_records
from marco.evaluation.scalars import scalars

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def records(finished: Path) -> Records:
    return read_records(finished)


def test_every_number_of_the_run_is_there(finished: Path, records: Records) -> None:
    logged = history(records)
    lines = metrics(finished)
    assert len(lines) >= 10
    for line in lines:
        for key, value in line.items():
            if key != "step":
                assert math.isclose(logged[line["step"]][key], value, rel_tol=1e-12), key
    for evaluation in read_history(finished):
        for key, value in scalars(evaluation).items():
            assert logged[evaluation.step][key] == pytest.approx(value, rel=1e-12), key


def test_the_table_has_every_row_and_columns_of_fixed_types(
    finished: Path, records: Records
) -> None:
    rows = to_records(read_history(finished))
    table = tables(finished, records, "eval/table")[-1]
    found = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    assert [{key: row[key] for key in rows[0]} for row in found] == rows
    types = column_types(records, "eval/table")
    assert len(types) == len(read_history(finished))
    assert all(each == types[0] for each in types)
    kinds = {name: kind["params"]["allowed_types"] for name, kind in types[0].items()}
    assert kinds["value"] == kinds["step"] == [{"wb_type": "none"}, {"wb_type": "number"}]
    assert kinds["reason"] == kinds["subtask"] == [{"wb_type": "none"}, {"wb_type": "string"}]


def test_the_summary_is_the_runs_summary_and_has_the_best(finished: Path, records: Records) -> None:
    told: dict[str, Any] = {}
    for update in records["summary"]:
        told.update(update.get("update", {}))
    summary = json.loads((finished / "summary.json").read_text())
    found = told["macro"] if "macro" in told else told["macro.bits_per_byte"]
    assert json.dumps(summary["macro"]["bits_per_byte"]["after"]) in json.dumps(found)
    measured = [scalars(evaluation) for evaluation in read_history(finished)]
    key = "eval/bits_per_byte/macro"
    assert told[key] == {
        "last": measured[-1][key],
        "min": min(values[key] for values in measured),
    }
    key = "eval/lexicon_accuracy/macro"
    assert told[key]["max"] == max(values[key] for values in measured)


def test_everything_is_over_tokens(finished: Path, records: Records) -> None:
    axes = {
        metric.get("glob_name") or metric["name"]: metric.get("step_metric")
        for metric in records["metric"]
    }
    keys = {key for line in history(records).values() for key in line} - {"tokens"}
    assert keys
    for key in keys:
        namespace, slash, _ = key.partition("/")
        assert axes[f"{namespace}/*" if slash else key.partition(".")[0]] == "tokens"


def test_the_report_is_attached(finished: Path, records: Records) -> None:
    (path,) = [line["report.path"] for line in history(records).values() if "report.path" in line]
    (files,) = (finished / "wandb").glob("*run-*-*/files")
    assert (files / path).read_bytes() == (finished / "report.html").read_bytes()


def test_ledger_alert_and_no_artifact_of_an_offline_run(finished: Path, records: Records) -> None:
    (table,) = tables(finished, records, "data/ledger")
    ledger = {line[0]: dict(zip(table["columns"], line, strict=True)) for line in table["data"]}
    summary = json.loads((finished / "summary.json").read_text())
    for code, language in summary["languages"].items():
        assert ledger[code]["tokens"] == language["tokens"]
        assert ledger[code]["epochs"] == language["epochs"]
    (alert,) = records["alert"]
    (line,) = map(json.loads, (finished / "alerts.jsonl").read_text().splitlines())
    assert (alert["title"], alert["text"]) == (line["title"], line["text"])
    assert f"{summary['macro']['bits_per_byte']['after']:.3f}" in alert["text"]
    assert {artifact["type"] for artifact in records["artifact"]} == {"run_table"}


def test_a_run_that_an_agent_starts_is_the_agents(tmp_path: Path) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load((Path(conf_dir()) / "wandb_sweep" / "mix_alpha.yaml").read_text())
    chosen = {"mix.alpha": {"value": 0.3}}
    given = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    command: list[str] = create_sweep_command(sweep["command"])
    words = [word for word in command if word.startswith("mix")] + given
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump({"wandb_version": 1, **chosen}))
    small = [option for option in FAST if option != "logger=none"]
    done = train(
        tmp_path,
        *words,
        *small,
        "tokens=1024",
        "evaluation=likelihood",
        "logger.artifacts=always",
        WANDB_SWEEP_ID="sweep123",
        WANDB_RUN_ID="agentrun",
        WANDB_PROJECT="theirs",
        WANDB_SWEEP_PARAM_PATH=str(tmp_path / "agent.yaml"),
    )
    assert done.returncode == 0, done.stderr
    records = read_records(last(tmp_path))
    (run,) = records["run"]
    assert (run["run_id"], run["sweep_id"]) == ("agentrun", "sweep123")
    assert (run["project"], run["run_group"], run["job_type"]) == ("theirs", "debug_fast", "train")
    config = run["config"]["update"]
    assert config["mix.alpha"] == config["mix"]["alpha"] == 0.3
    artifacts = {artifact["type"]: artifact for artifact in records["artifact"]}
    assert artifacts["model"]["name"] == "model-agentrun"
    assert set(artifacts["model"]["aliases"]) >= {"last", "best"}
    paths = {entry["path"] for entry in artifacts["model"]["manifest"]["contents"]}
    assert {"ledger.json", "manifest.json", "state/index.json"} <= paths
    (data,) = artifacts["dataset"]["manifest"]["contents"]
    manifest = json.loads(Path(data["local_path"]).read_text())
    assert manifest["languages"] == ["eng", "swh", "tha"]
    assert manifest["mix"]["alpha"] == 0.3
