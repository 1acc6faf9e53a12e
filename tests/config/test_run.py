from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.config import Batch, Paths, conf_dir
from marco.config.values import convert, describe
from marco.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(2, 64), st.integers(1, 64), st.integers(1, 64))
def test_a_batch_is_cut_evenly_or_refused(length: int, sequences: int, micro: int) -> None:
    if sequences % micro:
        with pytest.raises(ConfigError, match="multiple"):
            Batch(length, sequences, micro)
    else:
        assert Batch(length, sequences, micro).tokens == length * sequences


def test_paths_expand_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = Paths(runs="~/runs", models="models")
    assert paths.runs_folder == tmp_path / "runs"
    with pytest.raises(ConfigError, match=r"paths\.runs"):
        Paths(runs=" ", models="models")


def test_the_source_tree_is_used_in_a_source_tree() -> None:
    assert conf_dir() == ROOT / "conf"


def test_an_installed_tree_is_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "marco"
    (package / "conf").mkdir(parents=True)
    (package.parent / "conf").mkdir()  # somebody else's
    monkeypatch.setattr("marco.config.paths._PACKAGE", package)
    assert conf_dir() == package / "conf"


def test_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys, marco.config, marco.commands; "
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'wandb', 'pandas', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"[]\n")


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
def test_scalars_keep_their_value_or_are_refused(value: object) -> None:
    for hint, types in ((int, int), (float, (int, float)), (str, str), (bool, bool)):
        right = isinstance(value, types) and (hint is bool or not isinstance(value, bool))
        if right:
            assert convert(value, hint, "key", _no_nodes) == hint(value)  # 2**53 + 1 has no float
        else:
            with pytest.raises(ConfigError, match=f"^key should be {describe(hint)}, got "):
                convert(value, hint, "key", _no_nodes)


def test_an_integer_stays_one_in_a_union_with_float() -> None:
    assert type(convert(1, float | int, "key", _no_nodes)) is int
    assert type(convert(1, float | None, "key", _no_nodes)) is float


def _no_nodes(*_: object) -> object:
    raise AssertionError("a plain value is no node")
