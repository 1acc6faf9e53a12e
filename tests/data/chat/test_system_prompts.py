"""System prompts: drawn by weight, the same for the same conversation, never over another."""

from __future__ import annotations

from collections import Counter

import pytest
from data.chat.conversations import Given, chat, qwen2

from marco.data.chat.system_prompts import SystemPrompt, check_prompts, with_prompt
from marco.errors import ConfigError

PROMPTS = [SystemPrompt("Be brief.", 3), SystemPrompt(None, 1), SystemPrompt("Never.", 0)]


def drawn(seed: int, count: int = 2000) -> list[str | None]:
    found = (with_prompt(chat(f"a{n}", "b"), PROMPTS, seed)[0] for n in range(count))
    return [one.content if one.role == "system" else None for one in found]


def test_shares_are_the_weights() -> None:
    shares = Counter(drawn(0))
    assert set(shares) == {"Be brief.", None}
    assert shares["Be brief."] / 2000 == pytest.approx(0.75, abs=0.04)  # 4 standard errors
    assert drawn(0) == drawn(0) != drawn(1)


def test_what_has_one_keeps_it() -> None:
    own = chat("a", "b", system="Mine.")
    assert with_prompt(own, PROMPTS[:1], 0) == own
    assert with_prompt(chat("a", "b"), [], 0) == chat("a", "b")


def test_a_source_renders_them() -> None:
    chats = tuple(chat(f"a{n}", "b") for n in range(40))
    settings = {"chats": chats, "max_tokens": 99}
    prompts = {"brief": PROMPTS[0], "none": PROMPTS[1]}
    mixed = Given(**settings, system_prompts=prompts)
    texts = mixed.preview("swh", qwen2(), 40)
    brief = [text.startswith("<|im_start|>system\nBe brief.<|im_end|>") for text in texts]
    default = [text.startswith("<|im_start|>system\nYou are a helpful") for text in texts]
    assert [a != b for a, b in zip(brief, default, strict=True)] == [True] * 40
    assert 20 < sum(brief) < 40
    contents = {
        Given(**settings, **more).open("swh", "swh", qwen2()).content
        for more in ({}, {"system_prompts": prompts}, {"seed": 1}, {"template": "chatml"})
    }
    assert len(contents) == 3  # chatml is what this tokenizer is given anyway


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"a": SystemPrompt("x", -1)}, r"key\.a\.weight=-1: a finite number"),
        ({"a": SystemPrompt("x", float("nan"))}, r"key\.a\.weight=nan"),
        ({"a": SystemPrompt(" ")}, r"key\.a\.text is empty"),
        ({"a": SystemPrompt("x", 0)}, "no prompt has a weight above 0"),
        ({}, "no prompt has a weight above 0"),
    ],
)
def test_prompts_that_are_wrong(prompts: dict[str, SystemPrompt], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_prompts(prompts, "key")
