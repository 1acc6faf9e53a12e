"""A conversation as text, and where in it the answers are, by a tokenizer's chat template.

What is a target: an assistant's content and the token that ends its turn, not the header before it.
A template that marks its answers ({% generation %}) is believed. Of any other, an answer begins
where the template leaves the pen to the model (`add_generation_prompt`) and ends with the last
special token of the turn; that needs a template that goes on where it left off, and one that does
not (Qwen3's drops earlier thoughts) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marco.data.chat.messages import Message
from marco.errors import ConfigError

_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
# What `NONCHARACTERS` matches, and no content has.
_STAND_INS = [chr(code) for code in range(0xFDD0, 0xFDF0)]

#: A range of characters, [start, stop).
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    Attributes:
        text: special tokens are spelled out; in content that spells one, a stand-in replaces its
            first character, so that it stays content.
        spans: the answers that are targets, in order.
        stand_ins: stand-in → the character it replaces.
    """

    text: str
    spans: list[Span]
    stand_ins: Mapping[str, str]


class Renderer:
    """Renders conversations.

    Args:
        template: in Jinja, as transformers runs it.
        special: spelled-out special tokens of the vocabulary.
        variables: what else the template may name, such as `bos_token`.
        where: the key of the template, for messages.
    """

    def __init__(
        self, template: str, special: Collection[str], variables: Mapping[str, Any], where: str
    ) -> None:
        self.template = template
        self._marks = bool(_MARKS.search(template))
        self._variables = dict(variables)
        self._where = where
        self.pattern = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))
        firsts = dict.fromkeys(token[0] for token in sorted(special))
        self._stand_ins = dict(zip(firsts, _STAND_INS, strict=False))

    def render(self, messages: Sequence[Message]) -> Rendered:
        """Render a conversation that `usable` returned.

        Raises:
            ConfigError: the template cannot render it, or does not say where its answers are.
        """
        chat = [{"role": one.role, "content": self._hidden(one.content)} for one in messages]
        text, spans = self._marked(chat) if self._marks else self._found(chat)
        answers = [one for one in messages if one.role == "assistant"]
        if len(spans) != len(answers):
            raise ConfigError(
                f"{self._where}: the chat template marks {len(spans)} answers in a conversation of "
                f"{len(answers)}."
            )
        trained = [span for span, one in zip(spans, answers, strict=True) if one.trained]
        return Rendered(text, trained, {new: old for old, new in self._stand_ins.items()})

    def _marked(self, chat: list[dict[str, str]]) -> tuple[str, list[Span]]:
        texts, spans = self._run(chat, return_assistant_tokens_mask=True)
        return texts[0], [(start, stop) for start, stop in spans[0]]

    def _found(self, chat: list[dict[str, str]]) -> tuple[str, list[Span]]:
        text: str = self._run(chat)[0][0]
        spans = []
        for number, message in enumerate(chat):
            if message["role"] != "assistant":
                continue
            before = self._run(chat[:number], add_generation_prompt=True)[0][0]
            through = text if number + 1 == len(chat) else self._run(chat[: number + 1])[0][0]
            if not (text.startswith(through) and through.startswith(before)):
                raise ConfigError(
                    f"{self._where}: this chat template renders a conversation otherwise when it "
                    "goes on, so it does not say which part is an answer. Mark answers in it with "
                    "{% generation %} … {% endgeneration %}, or take another one."
                )
            ends = [match.end() for match in self.pattern.finditer(through, len(before))]
            spans.append((len(before), ends[-1] if ends else len(through)))
        return text, spans

    def _run(self, chat: list[dict[str, str]], **options: bool) -> tuple[list[str], list[Any]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            made: tuple[list[str], list[Any]] = render_jinja_template(
                [chat], chat_template=self.template, **options, **self._variables
            )
        except TemplateError as error:
            raise ConfigError(f"{self._where}: the chat template fails: {error}") from error
        return made

    def _hidden(self, content: str) -> str:
        """A special token that is spelled in content must not become one."""
        return self.pattern.sub(lambda match: self._stand_ins[match[0][0]] + match[0][1:], content)
