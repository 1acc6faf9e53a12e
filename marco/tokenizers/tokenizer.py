"""The tokenizer every other room sees: a `tokenizers.Tokenizer` that never adds special tokens."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, DataError
from marco.tokenizers.chat_template import CHATML, IM_END, IM_START

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
    from numpy.typing import NDArray

    from marco.tokenizers.fast import FastEncoder

#: The token between documents, in Qwen's vocabulary and in ours.
END_OF_TEXT = "<|endoftext|>"

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# What else describes a tokenizer, kept so that an exported model still has its chat template.
TEMPLATE_FILE = "chat_template.jinja"
_SIDE_FILES = (CONFIG_FILE, "special_tokens_map.json", TEMPLATE_FILE)


class Tokenizer:
    """Text ↔ token ids.

    Text that spells a special token ("<|endoftext|>") is encoded as the plain text it is: a
    document must not be able to end itself.

    Attributes:
        name: for logs and tables, such as "qwen2".
        end_of_text: id of the token that stands before every document.
        fingerprint: SHA-256 of the serialised tokenizer; equal ids for equal text.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        name: str,
        end_of_text: str = END_OF_TEXT,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Wrap ``backend``.

        Args:
            backend: taken over; its padding and truncation are switched off.
            name: see the class.
            end_of_text: a token of the backend's vocabulary.
            files: file name → content, written beside tokenizer.json by ``save``.
        """
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True  # as plain text: the library's name for it
        token = backend.token_to_id(end_of_text)
        if token is None:
            raise DataError(f"The tokenizer {name} has no token '{end_of_text}'.")
        self._backend = backend
        self._end_of_text = end_of_text
        self._files = dict(files or {})
        self.name = name
        self.end_of_text: int = token
        self.fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()
        # Not the number of entries: ids may have gaps, and rows up to the last id are in use.
        self._length = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        self._fast: FastEncoder | None = None
        self._fast_is_known = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return one more than the highest id: the embedding rows that are in use."""
        return self._length

    def __reduce__(self) -> tuple[Any, ...]:
        # The library's own pickling forgets that special tokens are plain text.
        return _restore, (self._backend.to_str(), self.name, self._end_of_text, self._files)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, without any special token."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, as ``encode`` does, on all cores."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(encoding.ids) for encoding in encodings]

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text as ``encode`` does, [tokens] each, on this thread alone.

        For much text: several times faster than ``encode_batch`` on the same cores (call it from
        several threads), after a second of preparation, or four on a machine that never did it.
        A tokenizer that the faster engine is not exact for goes to ``encode_batch``.
        """
        import numpy as np

        engine = self._fast_encoder()
        found = [None if engine is None else engine.encode(text) for text in texts]
        rest = [text for text, ids in zip(texts, found, strict=True) if ids is None]
        others = iter(self.encode_batch(rest))
        return [np.array(next(others), np.int32) if ids is None else ids for ids in found]

    def encode_aligned(
        self, texts: Sequence[str]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Return for each text its ids, as ``encode`` does, and the characters each stands for.

        Those are [tokens, 2]: first and one past the last. Tokens that are parts of one character
        all stand for it.
        """
        import numpy as np

        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            (
                np.array(encoding.ids, np.int32),
                np.array(encoding.offsets, np.int64).reshape(-1, 2),
            )
            for encoding in encodings
        ]

    @functools.cached_property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens, spelled out, and their ids."""
        added = self._backend.get_added_tokens_decoder()
        return {token.content: id_ for id_, token in added.items() if token.special}

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that renders messages, where there is one."""
        if (own := self._files.get(TEMPLATE_FILE)) is not None:
            return own
        found = json.loads(self._files.get(CONFIG_FILE, "{}")).get("chat_template")
        if isinstance(found, list):  # several by name
            found = next((one["template"] for one in found if one.get("name") == "default"), None)
        return found if isinstance(found, str) else None

    @property
    def template_variables(self) -> dict[str, str]:
        """What a chat template may name beside messages: ``bos_token``, ``eos_token``, …"""
        config = json.loads(self._files.get(CONFIG_FILE, "{}"))
        named = {key: value for key, value in config.items() if key.endswith("_token")}
        spelled = {
            key: value.get("content") if isinstance(value, dict) else value
            for key, value in named.items()
        }
        return {key: value for key, value in spelled.items() if isinstance(value, str)}

    def for_chat(self) -> Tokenizer:
        """Return it with Qwen2's chat template, where it has none, and the tokens of that.

        With a template of that kind, answers end with "<|im_end|>" (``eos_token``).
        """
        import tokenizers

        template = self.chat_template or CHATML
        if IM_END not in template:
            return self
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        lacking = [token for token in (IM_START, IM_END) if token not in self.special_tokens]
        backend.add_special_tokens([tokenizers.AddedToken(t, special=True) for t in lacking])
        config = json.loads(self._files.get(CONFIG_FILE, "{}"))
        config["eos_token"] = IM_END
        config.pop("added_tokens_decoder", None)  # tokenizer.json says it too, and is up to date
        files = {
            **self._files,
            CONFIG_FILE: json.dumps(config, indent=2, ensure_ascii=False) + "\n",
            TEMPLATE_FILE: template,
        }
        files.pop("special_tokens_map.json", None)
        return Tokenizer(backend, self.name, self._end_of_text, files)

    def _fast_encoder(self) -> FastEncoder | None:
        from marco.tokenizers.fast import fast_encoder

        with self._lock:
            if not self._fast_is_known:
                self._fast = fast_encoder(self._backend.to_str())
                self._fast_is_known = True
        return self._fast

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``, special tokens spelled out; halves of characters become �."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def token_bytes(self) -> NDArray[np.int64]:
        """Return how many UTF-8 bytes each id stands for, [len(self)]; see there."""
        from marco.tokenizers.token_bytes import token_bytes

        return token_bytes(self._backend, len(self))

    def save(self, folder: Path) -> None:
        """Write what transformers' ``AutoTokenizer`` loads, each file atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {**self._files, TOKENIZER_FILE: self._backend.to_str()}.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            Path(temporary).chmod(0o644)
            os.replace(temporary, folder / name)

    def transformers(self) -> Any:
        """Return it as transformers has it, with special tokens and chat template."""
        from transformers import AutoTokenizer

        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        loaded.name_or_path = self.name
        return loaded

    @classmethod
    def from_folder(cls, folder: Path, name: str | None = None) -> Tokenizer:
        """Load a saved tokenizer.

        ``end_of_text`` is "<|endoftext|>" where the vocabulary has it (an instruction-tuned Qwen2
        ends its turns with another token, but its documents with this one), else ``eos_token``.

        Raises:
            ConfigError: ``folder`` has no tokenizer.json.
            DataError: it cannot be read, or nothing says how documents end.
        """
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise ConfigError(f"No tokenizer in {folder}: {TOKENIZER_FILE} is missing.")
        backend = _parse(path)
        files = {
            side: (folder / side).read_text(encoding="utf-8")
            for side in _SIDE_FILES
            if (folder / side).is_file()
        }
        config = _config(folder, files)
        eos = config.get("eos_token")
        eos = eos.get("content") if isinstance(eos, dict) else eos
        for token in (END_OF_TEXT, eos):
            if isinstance(token, str) and backend.token_to_id(token) is not None:
                return cls(backend, name or folder.resolve().name, token, files)
        raise DataError(
            f"{folder}: the tokenizer has no end-of-text token: neither '{END_OF_TEXT}' nor an "
            f"eos_token in {CONFIG_FILE}."
        )


def _parse(path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise DataError(f"{path} is not a tokenizer: {error}.") from None


def _config(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    try:
        config = json.loads(files.get(CONFIG_FILE, "{}"))
    except ValueError as error:
        raise DataError(f"{folder / CONFIG_FILE} is not valid JSON: {error}.") from None
    if not isinstance(config, dict):
        raise DataError(f"{folder / CONFIG_FILE} is not a JSON object.")
    return config


def _restore(serialised: str, name: str, end_of_text: str, files: dict[str, str]) -> Tokenizer:
    import tokenizers

    return Tokenizer(tokenizers.Tokenizer.from_str(serialised), name, end_of_text, files)
