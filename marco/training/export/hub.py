"""Pushing an exported model to the Hugging Face hub; only ever when asked."""

from __future__ import annotations

from pathlib import Path

from marco.errors import ConfigError, MarcoError


def check_token() -> None:
    """Raise ConfigError where the hub would not know who is pushing."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise ConfigError(
            "push_to_hub: there is no token of the Hugging Face hub. Log in with `hf auth login`, "
            "or set HF_TOKEN."
        )


def push(folder: Path, name: str, *, private: bool) -> str:
    """Upload a folder as the model `name` (<owner>/<name>), made where it is new; return its URL.

    Raises:
        MarcoError: the hub refuses, or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        url = str(api.create_repo(name, private=private, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Export from marco")
    except Exception as error:  # those of its HTTP library, which differs between versions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MarcoError(f"push_to_hub={name}: {reason} The export is in {folder}.") from error
    return url
