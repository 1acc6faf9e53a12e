"""A hub that cannot be reached costs seconds and one sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import datasets
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import constants

from marco.errors import DataError
from marco.evaluation.suite import hub
from marco.evaluation.suite.build import build
from marco.evaluation.suite.task_set import TaskSet

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_last", {})


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str]:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "task: mine\ndataset_path: nobody/nothing\ntest_split: test\noutput_type: loglikelihood\n"
    )
    return (str(folder),)


@pytest.fixture
def server() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    serving = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


def test_no_hub_is_said_at_once(mine: tuple[str]) -> None:
    start = time.monotonic()
    message = (
        r"mine: the data set nobody/nothing is not in the local cache, and the hub "
        rf"\({NOWHERE}\) cannot be reached\. Give a local copy with evaluation\.data_dir=\."
    )
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            build("mine", TaskSet(["mine"]), include_path=mine)
    assert time.monotonic() - start < 8  # the retries of datasets take 46 s for the two
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_offline_mode_is_said(mine: tuple[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids the hub"):
        build("mine", TaskSet(["mine"]), include_path=mine)
    assert not hub._last  # nobody was asked


def test_a_hub_that_answers_is_asked_once(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hub.reachable()
    monkeypatch.setattr(constants, "ENDPOINT", server)
    assert hub.reachable()
    asked = dict(hub._last)
    assert hub.reachable()
    assert hub._last == asked
    with hub.quick_hub(needed=True):
        assert not constants.HF_HUB_OFFLINE


def test_scripts_have_their_own_reason(tmp_path: Path) -> None:
    script = tmp_path / "set.py"
    script.write_text("raise SystemExit('a script was run')")
    with pytest.raises(RuntimeError) as caught:
        datasets.load_dataset(str(script))
    said = hub.reason(caught.value, {"dataset_path": "owner/set"})
    assert said.startswith("the data set owner/set is a script on the hub, and scripts are no")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dataset 'a/b' is a gated dataset on the Hub.", "wants you to accept its terms"),
        ("Dataset 'a/b' doesn't exist on the Hub or cannot be accessed.", "is not on the hub"),
    ],
)
def test_a_data_set_that_is_not_to_be_had(text: str, said: str) -> None:
    assert said in hub.reason(DatasetNotFoundError(text), {"dataset_path": "a/b"})


def test_anything_else_is_one_line() -> None:
    assert hub.reason(ValueError("one\ntwo"), {}) == "ValueError: one"
