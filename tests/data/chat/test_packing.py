"""Conversations in windows: whole, masked, none without a target, cut and dropped with a number."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from data.chat.conversations import Given, chat, qwen2
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.data.chat.messages import TOO_LONG, ChatCounts
from marco.data.chat.text import Conversation
from marco.data.global_order import GlobalOrder
from marco.data.ledger import FIELDS, by_language, entry
from marco.data.packing import BestFit, packing
from marco.data.stores import MemoryStore, Source
from marco.data.windows import IGNORED, read_window
from marco.errors import ConfigError, DataError
from marco.mixing import Uniform


def opened(*chats: Conversation, max_tokens: int = 64) -> Source:
    return Given(chats=chats, max_tokens=max_tokens).open("swh", "swh", qwen2())


def documents(source: Source) -> list[tuple[list[int], list[bool]]]:
    ends = [0, *source.store.ends(0, source.store.documents).tolist()]
    return [
        (source.store.read(a, b).tolist(), list(source.store.mask(a, b))) for a, b in pairwise(ends)
    ]


def test_a_store_holds_conversations_alone() -> None:
    source = opened(chat("a", "b"), chat("c", "d", "e", "f"))
    texts = [qwen2().decode(tokens) for tokens, _ in documents(source)]
    assert [text.count("<|im_start|>") for text in texts] == [3, 5]
    assert all(text.startswith("<|im_start|>system\n") for text in texts)
    assert all(text.endswith("<|im_end|>\n") for text in texts)
    assert source.whole
    assert source.lost == {"dropped_documents": 0, "cut_documents": 0, "cut_tokens": 0}


def test_a_window_begins_as_a_prompt_does_and_labels_are_one_ahead() -> None:
    source = opened(chat("a", "b"), chat("c", "d"))
    pieces = packing("concat", source, 64, 0).pieces(0)
    window = read_window(source, pieces, 64, qwen2().token_bytes())
    tokens = window.input_ids.tolist()
    starts = np.flatnonzero(window.position_ids == 0)
    lengths = [stop - start for start, stop in pieces]
    assert starts.tolist() == [0, lengths[0], sum(lengths)]
    assert {tokens[start] for start in starts[:2]} == {qwen2().special_tokens["<|im_start|>"]}
    targets = np.flatnonzero(window.labels != IGNORED)
    assert all(window.labels[place] == tokens[place + 1] for place in targets)
    said = qwen2().decode(window.labels[targets].tolist())
    assert said in ("b<|im_end|>d<|im_end|>", "d<|im_end|>b<|im_end|>")
    assert qwen2().decode([tokens[place] for place in targets]) in ("\nb\nd", "\nd\nb")
    counts = dict(zip(FIELDS, window.counts.tolist(), strict=True))
    assert counts["target_tokens"] == 4
    assert (counts["documents"], counts["truncated_tokens"]) == (2, 0)
    assert counts["tokens"] + counts["padding"] == 64


def test_too_long_ones_are_cut_and_dropped_where_no_answer_is_left() -> None:
    long = chat("x " * 60, "never seen")
    half = chat("a", "b " * 60)
    two = chat("a", "b", "c " * 60, "never seen")
    source = opened(long, half, two)
    assert source.lost["dropped_documents"] == 1
    assert (source.lost["cut_documents"], len(source.store)) == (2, 128)
    whole = opened(half, two, max_tokens=1000)
    assert source.lost["cut_tokens"] == len(whole.store) - 128
    first, second = documents(source)
    assert first[1].count(True) > 30
    answer = [token for token, target in zip(*second, strict=True) if target]
    assert qwen2().decode(answer) == "b<|im_end|>"


def test_the_edge_of_max_tokens() -> None:
    at = documents(opened(chat("a", "b")))[0][1].index(True)
    kept = opened(chat("a", "b"), max_tokens=at + 1)
    assert documents(kept)[0][1] == [False] * at + [True]
    with pytest.raises(DataError, match=f"no conversations to train on.*dropped 1 {TOO_LONG}"):
        opened(chat("a", "b"), max_tokens=at)


def test_a_window_shorter_than_a_conversation_is_refused() -> None:
    source = opened(chat("a", "b " * 60))
    with pytest.raises(ConfigError, match=r"swh has a conversation of 64 tokens, more than .*=63"):
        packing("best_fit", source, 63, 0)
    assert isinstance(packing("concat", source, 64, 0), BestFit)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 30), st.integers(1, 29)), min_size=1, max_size=60),
    st.integers(0, 3),
    st.sampled_from(["concat", "best_fit"]),
)
def test_every_epoch_serves_every_conversation_once_and_whole(
    shapes: list[tuple[int, int]], seed: int, pack: str
) -> None:
    length = 30
    sizes = np.array([size for size, _ in shapes])
    ends = np.cumsum(sizes)
    tokens = np.arange(1, ends[-1] + 1, dtype=np.int32)
    targets = np.zeros(len(tokens), bool)
    for end, (size, first) in zip(ends, shapes, strict=True):
        targets[end - size + min(first, size - 1) : end] = True
    source = Source("swh", "swh", MemoryStore(tokens, ends, targets), 0, whole=True)
    packed = packing(pack, source, length, seed)  # type: ignore[arg-type]
    seen: list[int] = []
    labels: list[int] = []
    draw = 0
    while len(seen) < len(tokens):
        window = read_window(source, packed.pieces(draw), length, np.ones(len(tokens) + 1, int))
        held = window.input_ids != 0
        assert held.sum() <= length
        seen += window.input_ids[held].tolist()
        chosen = window.labels[window.labels != IGNORED]
        assert len(chosen)
        assert chosen.tolist() == (window.input_ids[window.labels != IGNORED] + 1).tolist()
        labels += chosen.tolist()
        starts = window.input_ids[held & (window.position_ids == 0)]
        assert set(starts.tolist()) <= {1, *(ends + 1).tolist()}
        draw += 1
    assert sorted(seen) == tokens.tolist()
    assert sorted(labels) == tokens[targets].tolist()


def test_plain_text_in_the_same_mix_is_not_padded() -> None:
    plain = Source("eng", "eng", MemoryStore(np.arange(1, 641, dtype=np.int32), np.array([640])), 0)
    chats = opened(*(chat(f"a{n}", f"b{n}") for n in range(20)))
    sizes = {"eng": 640, "swh": len(chats.store)}
    schedule = Uniform().schedule(sizes, 10_000, 64)
    order = GlobalOrder(
        [plain, chats], partial(Uniform().order, schedule, 64, 1), 64, "concat", 1, {}
    )
    found = [order.next() for _ in range(40)]
    assert {row.tokens for row in found if row.source == 0} == {64}
    assert {row.tokens for row in found if row.source == 1} < set(range(25, 64))
    served = [sum(row.tokens for row in found if row.source == which) for which in (0, 1)]
    assert abs(served[0] - served[1]) <= 64  # equal shares of tokens, not of windows


def test_the_ledger_sums_what_was_lost() -> None:
    sources = {
        name: entry([1] * len(FIELDS), 10, lost)
        for name, lost in (("a", {"cut_tokens": 3}), ("b", {"cut_tokens": 4}), ("c", {}))
    }
    found = by_language(sources, {"a": "swh", "b": "swh", "c": "eng"})
    assert (found["swh"]["cut_tokens"], found["swh"]["tokens"], found["swh"]["size"]) == (7, 2, 20)
    assert "cut_tokens" not in found["eng"]


def test_counts_say_what_was_cut() -> None:
    assert ChatCounts(cut=2, cut_tokens=1234).notes("swh") == [
        "swh: 2 samples cut at max_tokens, by 1,234 tokens"
    ]
