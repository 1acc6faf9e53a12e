"""Whether W&B can be reached in principle: is there a key, and what does the environment ask for.

Read without importing wandb, and never by asking: a training run has nobody at its terminal.
"""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["online", "offline", "disabled"]

DEFAULT_URL = "https://api.wandb.ai"
ENVIRONMENT_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def find_key(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return where W&B's credentials are ("WANDB_API_KEY", a file's path), or None.

    Looks where wandb looks: the environment, a netrc entry for the server's host, and W&B's
    settings file. Whether the key is valid only the server knows.
    """
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environment.get(variable):
            return variable
    settings_path, settings = _settings_file(environment)
    if settings.get("api_key"):
        return str(settings_path)
    url = environment.get("WANDB_BASE_URL") or settings.get("base_url") or DEFAULT_URL
    named = environment.get("NETRC")
    names = [named] if named else ["~/.netrc", "~/_netrc"]
    for path in (Path(name).expanduser() for name in names):
        try:
            if netrc.netrc(path).authenticators(urlsplit(url).netloc):
                return str(path)
        except (OSError, netrc.NetrcParseError, ValueError):
            continue  # no such file, or one that wandb could not read either
    return None


def resolve_mode(
    wanted: Literal["auto", "online", "offline", "disabled"],
    environment: Mapping[str, str] = os.environ,
) -> tuple[Mode, str]:
    """Return the mode to start in and why, in words for the user.

    ``auto`` follows ``WANDB_MODE`` where that is set to something sensible, then the presence of
    a key; ``online`` without a key is ``offline``, because wandb would ask for one.
    """
    asked = environment.get("WANDB_MODE", "").strip().lower()
    if wanted == "auto" and asked in ENVIRONMENT_MODES:
        mode, why = ENVIRONMENT_MODES[asked], f"WANDB_MODE={asked}"
    elif wanted == "auto":
        key = find_key(environment)
        if key is None:
            return "offline", "no API key found"
        return "online", f"API key from {key}"
    else:
        mode, why = wanted, f"logger.mode={wanted}"
    if mode == "online" and find_key(environment) is None:
        return "offline", f"{why}, but no API key found"
    return mode, why


def _settings_file(environment: Mapping[str, str]) -> tuple[Path, Mapping[str, str]]:
    folder = environment.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    path = Path(folder).expanduser() / "settings"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return path, {}
    return path, dict(parser["default"]) if parser.has_section("default") else {}
