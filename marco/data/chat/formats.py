"""The three shapes in which chat data is published, told apart by their keys.

- `openai`: {"messages": [{"role": "user", "content": "…"}, …]}; an answer with "weight": 0 is
  context only. Content may be a list of {"type": "text", "text": "…"}.
- `sharegpt`: {"conversations": [{"from": "human", "value": "…"}, …], "system": "…"}.
- `alpaca`: {"instruction": "…", "input": "…", "output": "…", "system": "…",
  "history": [["…", "…"]]}; all but instruction and output may be absent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

from marco.data.chat.messages import NONCHARACTERS, NOT_TEXT, ROLE, Message, Role, UnusableError
from marco.errors import DataError, nearest

Format = Literal["openai", "sharegpt", "alpaca"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_LISTS = ("messages", "conversations", "conversation")


def detect(row: Mapping[str, Any], place: str) -> Format:
    """Return the format that a file's first row is in.

    Raises:
        DataError: in none; `place` is its file and line.
    """
    if "instruction" in row and "output" in row:
        return "alpaca"
    for key in _LISTS:
        turns = row.get(key)
        if isinstance(turns, list) and turns and isinstance(turns[0], Mapping):
            if "role" in turns[0]:
                return "openai"
            if "from" in turns[0]:
                return "sharegpt"
    keys = ", ".join(map(str, row)) or "none"
    raise DataError(
        f"{place}: no known format of chat data (keys here: {keys:.200}): 'messages' with role and "
        "content, 'conversations' with from and value, or 'instruction' and 'output'."
    )


def parse(row: Mapping[str, Any], format: Format, place: str) -> list[Message]:
    """Return a row's messages, as they are.

    Args:
        row: a line's object, or a row of a Parquet file.
        format: of the file.
        place: its file and line, for messages.

    Raises:
        DataError: a key is missing, or holds something else than it should.
        UnusableError: a role that there is no place for, or content that is not text.
    """
    if format == "alpaca":
        return _alpaca(row, place)
    speaker, said = ("role", "content") if format == "openai" else ("from", "value")
    key = next((key for key in _LISTS if row.get(key) is not None), None)
    if key is None or not isinstance(row[key], list):
        raise DataError(f"{place}: no list of messages (format={format}).{_near(row, _LISTS)}")
    messages = _system(row, place) if format == "sharegpt" else []
    for number, turn in enumerate(row[key], 1):
        where = f"{place}, message {number}"
        if not isinstance(turn, Mapping) or speaker not in turn or said not in turn:
            found = ", ".join(map(str, turn)) if isinstance(turn, Mapping) else repr(turn)
            raise DataError(f"{where}: should have '{speaker}' and '{said}', has {found:.80}.")
        role = turn[speaker]
        if not isinstance(role, str):
            raise DataError(f"{where}: '{speaker}' should be a text, is {role!r:.40}.")
        if role not in _ROLES:
            raise UnusableError(ROLE)
        trained = turn.get("weight") is None or bool(turn["weight"])
        messages.append(Message(_ROLES[role], _text(turn[said], f"{where}: '{said}'"), trained))
    return messages


def _alpaca(row: Mapping[str, Any], place: str) -> list[Message]:
    for key in ("instruction", "output"):
        if key not in row:
            raise DataError(f"{place}: no '{key}' (format=alpaca).{_near(row, [key])}")
    messages = _system(row, place)
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"{place}: 'history' should be a list of [question, answer].")
        for role, text in zip(("user", "assistant"), pair, strict=True):
            messages.append(Message(_ROLES[role], _text(text, f"{place}: 'history'")))
    asked = _text(row["instruction"], f"{place}: 'instruction'")
    given = _text(row.get("input") or "", f"{place}: 'input'")
    messages.append(Message("user", f"{asked}\n{given}" if given else asked))
    messages.append(Message("assistant", _text(row["output"], f"{place}: 'output'")))
    return messages


def _system(row: Mapping[str, Any], place: str) -> list[Message]:
    text = row.get("system")
    return [Message("system", _text(text, f"{place}: 'system'"))] if text else []


def _text(value: Any, what: str) -> str:
    if value is None:  # an answer that only calls a tool
        return ""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise UnusableError(NOT_TEXT)
        value = "".join(texts)
    if not isinstance(value, str):
        raise DataError(f"{what} should be a text, is {value!r:.40}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what} has half a surrogate pair, which UTF-8 cannot write.") from None
    if NONCHARACTERS.search(value):
        raise UnusableError(NOT_TEXT)
    return unicodedata.normalize("NFC", value)


def _near(row: Mapping[str, Any], wanted: Any) -> str:
    return next((hint for key in row if (hint := nearest(str(key), wanted))), "")
