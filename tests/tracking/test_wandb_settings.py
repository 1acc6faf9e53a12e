from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from marco.errors import ConfigError
from marco.tracking.local_settings import LocalOnly
from marco.tracking.wandb_mode import find_key, resolve_mode
from marco.tracking.wandb_settings import Wandb

CONF = Path(__file__).parents[2] / "conf" / "logger"


@pytest.mark.parametrize(("name", "target"), [("wandb", Wandb), ("none", LocalOnly)])
def test_yaml_has_exactly_the_fields(name: str, target: type[Any]) -> None:
    root = OmegaConf.create({"name": "udhr_tiny", "tags": ["a"]})
    root["logger"] = OmegaConf.load(CONF / f"{name}.yaml")
    values = OmegaConf.to_container(root, resolve=True)["logger"]
    assert values.pop("_target_") == f"{target.__module__}.{target.__name__}"
    assert list(values) == [field.name for field in dataclasses.fields(target)]
    settings = target(**values)
    if name == "wandb":
        assert settings.group == "udhr_tiny"
        assert settings.tags == ["a"]
    assert (CONF / f"{name}.yaml").read_text().startswith("# Choose it")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"project": "a/b"}, r"logger\.project='a/b'"),
        ({"project": ""}, r"logger\.project"),
        ({"mode": "ofline"}, r"logger\.mode='ofline'.*Did you mean 'offline'"),
        ({"artifacts": "allways"}, r"logger\.artifacts='allways'.*Did you mean 'always'"),
        ({"upload_gb": -1.0}, r"logger\.upload_gb=-1"),
        ({"tags": ["x" * 65]}, r"logger\.tags"),
        ({"init_timeout": 0}, r"logger\.init_timeout=0"),
        ({"finish_timeout": float("nan")}, r"logger\.finish_timeout=nan"),
    ],
)
def test_wrong_values_name_their_key(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Wandb(**({"project": "marco"} | wrong))


def test_loggers_of_the_settings(tmp_path: Path) -> None:
    def built(settings: Any) -> list[str]:
        return [type(logger).__name__ for logger in settings.build(tmp_path, config={})]

    assert built(LocalOnly()) == ["LocalLogger"]
    assert built(Wandb("marco")) == ["LocalLogger", "WandbLogger"]
    assert list(tmp_path.iterdir()) == []


def test_settings_import_nothing_heavy() -> None:
    heavy = "{'torch', 'wandb', 'pytorch_lightning', 'pandas', 'transformers', 'matplotlib'}"
    code = (
        "import sys, marco.tracking, marco.tracking.wandb_settings, marco.tracking.local_settings\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    nowhere = {"NETRC": str(tmp_path / "netrc"), "WANDB_CONFIG_DIR": str(tmp_path)}
    return nowhere | variables


def test_key_is_found_where_wandb_looks(tmp_path: Path) -> None:
    assert find_key(environment(tmp_path)) is None
    assert find_key(environment(tmp_path, WANDB_API_KEY="")) is None
    assert find_key(environment(tmp_path, WANDB_API_KEY="k")) == "WANDB_API_KEY"
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password k\n")
    assert find_key(environment(tmp_path)) is None
    own = environment(tmp_path, WANDB_BASE_URL="https://wandb.example.org")
    assert find_key(own) == str(tmp_path / "netrc")
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert find_key(environment(tmp_path)) == str(tmp_path / "netrc")
    (tmp_path / "settings").write_text("[default]\napi_key = k\n")
    assert find_key(environment(tmp_path)) == str(tmp_path / "settings")


def test_damaged_key_files_are_no_key(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine\nnonsense {")
    (tmp_path / "settings").write_bytes(b"\xff\xfe [")
    assert find_key(environment(tmp_path)) is None


@pytest.mark.parametrize(
    ("wanted", "variables", "mode"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "dryrun"}, "offline"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "nonsense"}, "online"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "online"}, "offline"),
        ("online", {}, "offline"),
        ("online", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "online"),
        ("offline", {"WANDB_API_KEY": "k"}, "offline"),
        ("disabled", {"WANDB_API_KEY": "k"}, "disabled"),
    ],
)
def test_mode(tmp_path: Path, wanted: Any, variables: dict[str, str], mode: str) -> None:
    assert resolve_mode(wanted, environment(tmp_path, **variables))[0] == mode
