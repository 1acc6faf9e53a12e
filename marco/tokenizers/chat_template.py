"""Qwen2's chat template, ChatML: what a tokenizer without one of its own is given for chat."""

from __future__ import annotations

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"

#: As in the published tokenizers of Qwen2 (a default system prompt, every turn closed).
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
