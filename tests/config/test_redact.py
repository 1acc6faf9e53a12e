from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from marco.config.redact import REDACTED, is_secret_name, redact_overrides, resolved


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "WANDB_API_KEY",
        "apiKey",
        "apikey",
        "hub_token",
        "token",
        "HF_TOKEN",
        "password",
        "client_secret",
        "AWS_SECRET_ACCESS_KEY",
        "private-key",
        "credentials",
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "tokenizer",
        "eos_token",
        "end_of_text_token",
        "loss_per_token",
        "key",
        "monkey",
        "keyboard",
        "secretary",
        "every_tokens",
        "",
    ],
)
def test_ordinary_names(name: str) -> None:
    assert not is_secret_name(name)


def test_a_resolved_config_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_API_KEY", "abcdefgh12345678")
    monkeypatch.setenv("TOY_PLAIN", "visible-value")
    cfg = OmegaConf.create(
        {
            "tokens": 2_000_000,
            "logger": {
                "api_key": "literal",
                "password": None,
                "header": "Bearer ${oc.env:TOY_API_KEY}",
                "url": ["https://user:abcdefgh12345678@host", "${oc.env:TOY_PLAIN}"],
            },
        }
    )
    assert resolved(cfg) == {
        "tokens": 2_000_000,
        "logger": {
            "api_key": REDACTED,
            "password": None,
            "header": f"Bearer {REDACTED}",
            "url": [f"https://user:{REDACTED}@host", "visible-value"],
        },
    }
    assert cfg.logger.api_key == "literal"


@given(st.text(alphabet="abcXYZ019-_/+", min_size=8), st.text(), st.text())
def test_a_secret_of_the_environment_never_appears(secret: str, before: str, after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_PASSWORD", secret)
        shown = resolved({"a": {"b": [before + secret + after]}})
    assert secret not in shown["a"]["b"][0].replace(REDACTED, "")


def test_overrides_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_API_KEY", "abcdefgh12345678")
    given_ = ["tokens=5", "+logger.api_key=xyz", "logger.url=abcdefgh12345678", "~logger.token"]
    given_ += ["logger.api_key=null"]
    assert redact_overrides(given_) == [
        "tokens=5",
        f"+logger.api_key={REDACTED}",
        f"logger.url={REDACTED}",
        "~logger.token",
        "logger.api_key=null",
    ]
