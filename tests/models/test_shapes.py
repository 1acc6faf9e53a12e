"""Every published shape has exactly the published number of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from marco.config.paths import conf_dir
from marco.models import Initialiser, QwenModel
from marco.models.build import parameter_count, qwen_config

# The parameter counts that the safetensors of the published models state.
PUBLISHED = {
    "qwen2_0_5b": 494_032_768,
    "qwen2_1_5b": 1_543_714_304,
    "qwen2_7b": 7_615_616_512,
    "qwen2_72b": 72_706_203_648,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1_543_714_304,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_14b": 14_770_033_664,
    "qwen2_5_32b": 32_763_876_352,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "qwen3_14b": 14_768_307_200,
    "qwen3_32b": 32_762_123_264,
}


def settings(name: str) -> QwenModel:
    fields = yaml.safe_load((Path(conf_dir()) / "model" / f"{name}.yaml").read_text())
    fields.pop("_target_")
    initialiser = fields.pop("initialiser")
    initialiser.pop("_target_")
    return QwenModel(initialiser=Initialiser(**initialiser), **fields)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name: str) -> None:
    config = qwen_config(settings(name), 151_646)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert parameter_count(model) == PUBLISHED[name]


def test_every_shape_in_the_tree_is_checked() -> None:
    names = {path.stem for path in (Path(conf_dir()) / "model").glob("*.yaml")}
    assert names - {"tiny", "pretrained"} == set(PUBLISHED)
