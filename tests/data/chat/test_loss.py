"""Packed conversations have the losses that transformers gives each of them alone."""

from __future__ import annotations

import torch
from data.chat.conversations import MARKED, Given, chat, qwen2

from marco.data.packing import packing
from marco.data.windows import read_window
from marco.models import Initialiser, QwenModel
from marco.objectives.causal_lm import CausalLanguageModel


def test_losses_are_those_of_each_alone() -> None:
    chats = (chat("Habari?", "Nzuri sana."), chat("a", "b", "c", "d e", system="x"), chat("é", "ñ"))
    tokenizer = qwen2()
    shape = QwenModel("qwen2", 32, 48, 2, 2, 1, 128, True, initialiser=Initialiser(std=0.2))
    network = shape.build(len(tokenizer), seed=0).eval()
    source = Given(chats=chats, max_tokens=64).open("swh", "swh", tokenizer)
    pieces = packing("concat", source, 128, 0).pieces(0)
    window = read_window(source, pieces, 128, tokenizer.token_bytes())
    assert len(pieces) == len(chats)
    names = ("input_ids", "position_ids", "labels")
    inputs = [torch.from_numpy(getattr(window, name))[None] for name in names]
    with torch.no_grad():
        packed = CausalLanguageModel(network, network.config.vocab_size)(*inputs).sum()
        alone = torch.zeros(())
        for messages in chats:
            made = tokenizer.transformers().apply_chat_template(
                [{"role": one.role, "content": one.content} for one in messages],
                chat_template=MARKED, return_dict=True, return_assistant_tokens_mask=True,
                return_tensors="pt",
            )  # fmt: skip
            mask = torch.as_tensor(made["assistant_masks"]).reshape(made["input_ids"].shape)
            labels = made["input_ids"].where(mask.bool(), -100)
            mean = network(made["input_ids"], labels=labels, use_cache=False).loss
            alone += mean * (labels[:, 1:] != -100).sum()
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-4)
