"""Formats told apart and read, errors with their place, drops with their reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.chat.conversations import chat, openai, rows

from marco.data.chat.messages import (
    EMPTY,
    NO_ANSWER,
    NOT_TEXT,
    ORDER,
    ROLE,
    ChatCounts,
    Message,
)
from marco.data.chat.source import ChatSource
from marco.errors import ConfigError, DataError

WANTED = [chat("Habari?", "Nzuri.", system="Be kind.")]


def read(path: Path, **settings: Any) -> tuple[list[tuple[Message, ...]], ChatCounts]:
    source = ChatSource(path=str(path), max_tokens=100, **settings)
    source.check("data")
    counts = ChatCounts()
    return list(source.conversations("data", counts)), counts


SAME = {
    "openai": openai(*WANTED[0]),
    "openai in parts": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "Hab"}, "ari?"]},
            {"role": "assistant", "content": "Nzuri."},
        ]
    },
    "sharegpt": {
        "system": "Be kind.",
        "conversations": [
            {"from": "human", "value": "Habari?"},
            {"from": "gpt", "value": "Nzuri."},
        ],
    },
    "alpaca": {"instruction": "Habari?", "input": "", "output": "Nzuri.", "system": "Be kind."},
}


@pytest.mark.parametrize("name", SAME)
def test_the_formats_say_the_same(name: str, tmp_path: Path) -> None:
    path = rows(tmp_path / "swh.jsonl", SAME[name])
    assert read(path)[0] == WANTED
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed, format=name.split()[0])[0] == WANTED


@pytest.mark.parametrize("name", [name for name in SAME if name != "openai in parts"])
def test_parquet(name: str, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([SAME[name]]), tmp_path / "swh.parquet")
    assert read(tmp_path / "swh.parquet")[0] == WANTED


def test_alpaca_has_input_and_history(tmp_path: Path) -> None:
    row = {
        "instruction": "Translate.",
        "input": "banana",
        "output": "ndizi",
        "history": [["Hi", "Habari"], ["Bye", "Kwaheri"]],
    }
    wanted = chat("Hi", "Habari", "Bye", "Kwaheri", "Translate.\nbanana", "ndizi")
    assert read(rows(tmp_path / "a.jsonl", row))[0] == [wanted]


def test_weight_0_is_context(tmp_path: Path) -> None:
    row = openai(*chat("a", "b", "c", "d"))
    row["messages"][1]["weight"] = 0
    row["messages"][3]["weight"] = 1
    (found,), _ = read(rows(tmp_path / "a.jsonl", row))
    assert [one.trained for one in found if one.role == "assistant"] == [False, True]
    row["messages"][3]["weight"] = 0
    found, counts = read(rows(tmp_path / "a.jsonl", row))
    assert (found, counts.dropped) == ([], {NO_ANSWER: 1})


def test_text_is_nfc(tmp_path: Path) -> None:
    (found,), _ = read(rows(tmp_path / "a.jsonl", openai(*chat("e\u0301", "o\u0323"))))
    assert [one.content for one in found] == ["\u00e9", "\u1ecd"]


DROPPED = {
    "no assistant": (openai(*chat("a")), NO_ANSWER),
    "no messages": ({"messages": []}, NO_ANSWER),
    "system alone": (openai(Message("system", "a")), NO_ANSWER),
    "assistant first": (openai(Message("assistant", "a"), *chat("b", "c")), ORDER),
    "two users": (openai(*chat("a"), *chat("b", "c")), ORDER),
    "system later": (openai(*chat("a", "b"), *chat("c", "d", system="e")), ORDER),
    "empty answer": (openai(*chat("a", " \n")), EMPTY),
    "empty question": (openai(*chat("", "b")), EMPTY),
    "null answer": ({"messages": [*openai(*chat("a"))["messages"], {
        "role": "assistant", "content": None}]}, EMPTY),
    "tool": ({"messages": [{"role": "tool", "content": "b"}]}, ROLE),
    "image": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
              NOT_TEXT),
    "noncharacter": (openai(*chat("a\ufdd0", "b")), NOT_TEXT),
}  # fmt: skip


@pytest.mark.parametrize("name", DROPPED)
def test_what_cannot_be_trained_on_is_dropped_and_counted(name: str, tmp_path: Path) -> None:
    row, reason = DROPPED[name]
    path = rows(tmp_path / "a.jsonl", openai(*chat("x", "y")), row)
    found, counts = read(path)
    assert found == [chat("x", "y")]
    assert counts.dropped == {reason: 1}
    assert counts.notes("swh") == [f"swh: dropped 1 {reason}"]


def test_a_last_question_is_left_out_and_an_empty_system_prompt(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", openai(*chat("a", "b", "c", system=" ")))
    found, counts = read(path)
    assert (found, counts.unanswered, counts.dropped) == ([chat("a", "b")], 1, {})


WRONG = {
    "no role": ({"messages": [{"content": "a"}]}, "no known format .*keys here: messages"),
    "later no role": (
        {"messages": [{"role": "user", "content": "a"}, {"rôle": "assistant", "content": "b"}]},
        r"message 2: should have 'role' and 'content', has rôle, content",
    ),
    "no content": (
        {"messages": [{"role": "user", "text": "a"}]},
        "message 1: should have 'role' and 'content', has role, text",
    ),
    "a number": ({"messages": [{"role": "user", "content": 3}]}, "'content' should be a text, is"),
    "a role that is none": ({"messages": [{"role": 1, "content": "a"}]}, "'role' should be a text"),
    "plain text": ({"text": "a"}, r"no known format of chat data \(keys here: text\)"),
    "no object": (["a"], "a JSON array; write an object a line"),
    "a surrogate": (openai(*chat("a\ud800", "b")), "half a surrogate pair"),
    "history": (
        {"instruction": "a", "output": "b", "history": [["c"]]},
        "'history' should be a list of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_in_no_format_is_an_error_with_its_place(name: str, tmp_path: Path) -> None:
    row, message = WRONG[name]
    path = tmp_path / "a.jsonl"
    path.write_text("\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message) as error:
        read(path)
    assert str(error.value).startswith(f"{path}, line 2")


def test_a_file_that_changes_its_format_is_an_error(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", SAME["openai"], SAME["alpaca"])
    with pytest.raises(DataError, match=r"line 2: no list of messages \(format=openai\)"):
        read(path)
    path = rows(tmp_path / "b.jsonl", SAME["alpaca"], {"instruction": "a", "outputs": "b"})
    with pytest.raises(DataError, match=r"line 2: no 'output' .*Did you mean"):
        read(path)


def test_files_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: not valid JSON"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ConfigError, match=r"a\.txt ends in none of \.jsonl"):
        read(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=r"no such file\. Did you mean 'a\.jsonl'"):
        read(tmp_path / "a.jsnol")
    (tmp_path / "b.parquet").write_text("a")
    with pytest.raises(DataError, match=r"b\.parquet: not a readable Parquet file"):
        read(tmp_path / "b.parquet")
