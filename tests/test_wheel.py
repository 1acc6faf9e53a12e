"""A built wheel trains in an empty folder, with its own configs and data, and the user's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import environment

ROOT = Path(__file__).parents[1]
SMALL = ["debug=fast", "logger=none", "evaluation=none", "tokens=1024"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site-packages")
    return folder / "site-packages"


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(unpacked)),
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_it_trains_with_a_config_of_the_users(unpacked: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my_conf" / "experiment"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - /experiment/udhr_tiny\n  - override /mix: natural\n  - _self_\n"
        "name: mine\ndata: {languages: [swh, yor]}\n"
    )
    place = f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]"
    done = run(unpacked, tmp_path, "train", place, "experiment=mine", *SMALL, "name=mine")
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "runs" / "last" / "config.yaml").read_text()
    assert "marco.mixing.Natural" in config
    assert (tmp_path / "runs" / "mine").is_dir()


def test_it_is_the_wheel_that_ran(unpacked: Path, tmp_path: Path) -> None:
    shown = run(unpacked, tmp_path, "train", "--info", "searchpath").stdout
    assert str(unpacked / "marco" / "conf") in shown


def test_commands_come_along(unpacked: Path, tmp_path: Path) -> None:
    code = "from marco.commands import main; raise SystemExit(main(['languages', 'swahili']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(unpacked)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "swh" in done.stdout
