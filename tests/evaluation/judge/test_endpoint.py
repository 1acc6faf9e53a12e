"""Against a real server on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marco.errors import ConfigError
from marco.evaluation.judge.endpoint import Endpoint, Judge, JudgeError

HELLO = [{"role": "user", "content": "Habari? ጤና"}]
KEY = "sk-very-secret-1234"


def test_a_request_is_openais(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve(lambda _: "Nzuri [[C]]")
    judge = Judge(Endpoint(server.url + "/", "m", "MY_KEY", {"temperature": 0}))
    assert judge.ask(HELLO) == "Nzuri [[C]]"
    judge.check()
    assert server.asked[0] == {"temperature": 0, "model": "m", "messages": HELLO}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    Judge(Endpoint(server.url, "m")).ask(HELLO)
    assert "Authorization" not in server.headers[-1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(serve: Callable[..., Any], status: int) -> None:
    answers: list[Any] = [(status, {}, {}), (status, {}, {"Retry-After": "0"}), "[[A]]"]
    server = serve(lambda _: answers.pop(0))
    assert Judge(Endpoint(server.url, "m", retries=2)).ask(HELLO) == "[[A]]"
    assert len(server.asked) == 3


def test_a_server_that_says_when_is_waited_for(serve: Callable[..., Any]) -> None:
    answers: list[Any] = [(429, {}, {"Retry-After": "1"}), "[[A]]"]
    server = serve(lambda _: answers.pop(0))
    start = time.monotonic()
    Judge(Endpoint(server.url, "m")).ask(HELLO)
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("reply", "tries", "message"),
    [
        ((503, "try later", {}), 3, "HTTP 503: try later"),
        ((400, {"error": {"message": "no such model"}}, {}), 1, "HTTP 400: no such model"),
        (
            (401, {"error": {"message": f"wrong key {KEY}"}}, {}),
            1,
            "HTTP 401: wrong key <redacted>",
        ),
        ((200, "<html>\nhello", {}), 1, "no chat completion: <html> hello"),
        ((200, {"choices": []}, {}), 1, "no chat completion"),
        ("", 1, "an empty answer"),
    ],
)
def test_what_does_not_pass_has_a_reason(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, reply: Any, tries: int, message: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve(lambda _: reply)
    judge = Judge(Endpoint(server.url, "m", "MY_KEY", retries=2))
    with pytest.raises(JudgeError) as caught:
        judge.ask(HELLO)
    assert message in str(caught.value)
    assert KEY not in repr(caught.value)
    assert len(server.asked) == tries


def test_silence_and_absence(serve: Callable[..., Any]) -> None:
    def slow(_: Any) -> str:
        time.sleep(0.5)
        return "[[A]]"

    server = serve(slow)
    with pytest.raises(JudgeError, match=r"ReadTimeoutError.*timed out"):
        Judge(Endpoint(server.url, "m", timeout=0.05, retries=1)).ask(HELLO)
    assert len(server.asked) == 2
    with pytest.raises(ConfigError, match=r"judge.url=.* does not judge: .*refused"):
        Judge(Endpoint("http://127.0.0.1:9/v1", "m", retries=0)).check()
    refusing = serve(lambda _: (401, {"error": {"message": "no key"}}, {}))
    with pytest.raises(ConfigError, match=r"HTTP 401: no key.* judge.key_variable=NAME"):
        Judge(Endpoint(refusing.url, "m")).check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "localhost:8000"}, "judge.url=localhost:8000 should be the root"),
        ({"url": "http://me:word@host/v1"}, "no user, password or query"),
        ({"url": "http://host/v1?key=1"}, "no user, password or query"),
        ({"model": " "}, "judge.model"),
        ({"key_variable": KEY}, "and not a key"),
        ({"parameters": {"model": "x"}}, "judge.parameters.model"),
        ({"concurrency": 0}, "judge.concurrency=0"),
        ({"retries": -1}, "judge.retries=-1"),
        ({"timeout": 0.0}, "judge.timeout"),
    ],
)
def test_what_cannot_be_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(**{"url": "http://host/v1", "model": "m", **fields})
    assert message in str(caught.value)
    assert KEY not in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="MY_KEY: this environment variable is not set"):
        Judge(Endpoint("http://host/v1", "m", "MY_KEY"))
