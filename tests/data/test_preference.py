from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from marco.data.documents import Corpus
from marco.data.preference import paired
from marco.data.preference_files import PreferenceFiles
from marco.data.preference_rows import Pair, parse
from marco.data.udhr import Udhr
from marco.errors import ConfigError, DataError
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return EmbeddedTokenizer(300).load(Udhr(["eng"]).load())


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_a_pair_is_one_document_of_two_sides(tokenizer: Tokenizer) -> None:
    pairs = [Pair("All human", " beings", " dogs"), Pair("No", " one", " body at all")]
    source = paired("eng", pairs, tokenizer, 100)
    end = tokenizer.end_of_text
    wanted: list[int] = []
    targets: list[bool] = []
    for pair in pairs:
        prompt = tokenizer.encode(str(pair.prompt))
        for answer in (pair.chosen, pair.rejected):
            ids = tokenizer.encode(str(answer))
            wanted += [*prompt, *ids, end]
            targets += [False] * len(prompt) + [True] * (len(ids) + 1)
    assert source.store.read(0, len(source.store)).tolist() == wanted
    mask = source.store.mask(0, len(source.store))
    assert mask is not None
    assert mask.tolist() == targets
    assert source.store.documents == 2
    assert np.count_nonzero(np.array(wanted) == end) == 4
    assert source.text_bytes == 2 * 9 + 7 + 5 + 2 * 2 + 4 + 12


def test_what_is_dropped_is_counted(tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pairs = [
        Pair("a", "b", "b"),
        Pair("a", "", "c"),
        Pair("a", "b", "c" * 50),
        Pair("a", "b", "c"),
    ]
    assert paired("eng", pairs, tokenizer, 20).store.documents == 1
    assert [record.message for record in caplog.records] == [
        "Data: eng: dropped 1 pairs whose two answers are the same",
        "Data: eng: dropped 1 pairs with an empty answer",
        "Data: eng: dropped 1 pairs of more than max_tokens",
    ]
    with pytest.raises(DataError, match=r"eng: no pairs of answers.*1 pairs of more than"):
        paired("eng", pairs[2:3], tokenizer, 20)


def test_content_tells_texts_apart(tokenizer: Tokenizer) -> None:
    found = {
        paired("eng", [pair], tokenizer, 50).content
        for pair in (
            Pair("a", "b", "c"),
            Pair("a", "c", "b"),
            Pair("ab", "", "c"),
            Pair("a", "b", "d"),
        )
        if pair.chosen
    }
    assert len(found) == 3


def test_rows_of_messages() -> None:
    ask, well, badly = said("user", "Habari?"), said("assistant", "Nzuri."), said("assistant", "Hi")
    wanted = Pair((("user", "Habari?"),), (("assistant", "Nzuri."),), (("assistant", "Hi"),))
    assert parse({"prompt": [ask], "chosen": [well], "rejected": [badly]}, "x") == wanted
    implicit = {"chosen": [ask, well], "rejected": [ask, badly]}
    assert parse(implicit, "x") == wanted
    assert parse({"prompt": "Habari?", **implicit}, "x") == wanted
    same = parse({"chosen": [ask, well], "rejected": [ask, well]}, "x")
    assert same.chosen == same.rejected == (("assistant", "Nzuri."),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "'rejected' should be a string or a list.*chosen, prompt"),
        ({"chosen": "b", "rejected": "c"}, "'prompt' should be a string"),
        ({"prompt": "a", "chosen": "b", "rejected": []}, "'chosen' is text and 'rejected' is not"),
        ({"chosen": [said("user", "a")], "rejected": [said("user", "b")]}, "different messages"),
        ({"chosen": [{"role": "user"}], "rejected": []}, "strings 'role' and 'content'"),
        ({"prompt": "\ud800", "chosen": "b", "rejected": "c"}, "surrogate"),
    ],
)
def test_wrong_rows(row: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=f"file, line 7: .*{message}"):
        parse(row, "file, line 7")


def test_messages_go_through_the_chat_template(tokenizer: Tokenizer, tmp_path: Path) -> None:
    chat = [Pair((("user", "All"),), (("assistant", "human"),), (("assistant", "beings"),))]
    with pytest.raises(ConfigError, match="has no chat template"):
        paired("eng", chat, tokenizer, 200)
    tokenizer.save(tmp_path)
    template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    (tmp_path / "chat_template.jinja").write_text(template)
    source = paired("eng", chat, Tokenizer.from_folder(tmp_path, name="chat"), 200)
    tokens = source.store.read(0, len(source.store))
    mask = source.store.mask(0, len(source.store))
    sides = "[user] All\n[assistant] human\n", "[user] All\n[assistant] beings\n"
    end = tokenizer.decode([tokenizer.end_of_text])
    assert tokenizer.decode(tokens.tolist()) == "".join(side + end for side in sides)
    assert mask is not None
    assert tokenizer.decode(tokens[mask].tolist()) == "human\nbeings\n"  # without the end-of-texts


def write(path: Path, *rows: dict[str, str]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def test_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write(tmp_path / "swh.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    row = {"prompt": "d", "chosen": "e", "rejected": "f"}
    write(tmp_path / "eng.jsonl", row, {**row, "prompt": "g"})
    data = PreferenceFiles(path=str(tmp_path), max_tokens=50)
    data.check()
    assert data.source_names() == data.language_codes() == ["eng", "swh"]
    assert not data.holds_out()
    sources = data.open_sources(data.load(), tokenizer)
    assert [(source.name, source.store.documents) for source in sources] == [("eng", 2), ("swh", 1)]
    held = PreferenceFiles(path=str(tmp_path), max_tokens=50, held_out=Udhr(["fra"]))
    assert held.language_codes() == list(held.load().held_out) == ["fra"]
    assert held.source_names() == ["eng", "swh"]


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "eng.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n\n[]\n')
    data = PreferenceFiles(path=str(tmp_path), max_tokens=50)
    pairs = data.pairs("eng", Corpus({}, {}))
    assert next(pairs) == Pair("a", "b", "c")
    with pytest.raises(DataError, match=r"eng\.jsonl, line 3: not an object"):
        next(pairs)
    (tmp_path / "eng.txt").write_text("text")
    with pytest.raises(ConfigError, match=r"eng\.txt is no \.jsonl"):
        data.check()
    with pytest.raises(ConfigError, match=r"data\.max_tokens=3"):
        PreferenceFiles(path=str(tmp_path), max_tokens=3).check()
