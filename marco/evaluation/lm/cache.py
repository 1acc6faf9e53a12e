"""Responses kept on disk, so that an interrupted evaluation asks nothing twice."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


def model_hash(network: nn.Module, *more: str) -> str:
    """Return a SHA-256 of a model's weights, and of what else decides what it answers."""
    digest = hashlib.sha256(json.dumps(more).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class RequestCache:
    """Lines of JSON, each a request's key and its response, appended as responses come.

    A key is of the model, the kind of request and its text, so another model's responses may be in
    the same file. A line that a crash tore is left out. Where the disk is full the evaluation goes
    on without.

    Several ranks must ask the same, and so must know the same: each reads the files of all, before
    any of them writes, and learns what the others found.

    Args:
        path: of the file; made on the first response. Ranks above 0 have one beside it.
        model: `model_hash` of what answers.
        rank: this process's.
    """

    def __init__(self, path: Path, model: str, rank: int = 0) -> None:
        self._path = path.with_name(f"{path.stem}-{rank}{path.suffix}") if rank else path
        self._model = model
        self._writes = True
        self._known: dict[str, Any] = {}
        #: Requests whose responses were here already.
        self.hits = 0
        for file in [path, *sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))]:
            self._read(file)

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                key, response = json.loads(line)
                self._known[key] = response
            except ValueError:
                log.warning("%s: a torn line is left out.", path)

    def get(self, kind: str, request: Any) -> Any:
        """Return the response to a request, or None."""
        found = self._known.get(self._key(kind, request))
        self.hits += found is not None
        return found

    def learn(self, kind: str, request: Any, response: Any) -> None:
        """Know a response that is on disk already, or that another rank keeps."""
        self._known[self._key(kind, request)] = response

    def put(self, kind: str, request: Any, response: Any) -> None:
        """Keep a response, here and on disk."""
        key = self._key(kind, request)
        self._known[key] = response
        if not self._writes:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                # a torn line before it would swallow this one
                lead = b"" if file.tell() == 0 or self._ends_whole() else b"\n"
                file.write(lead + json.dumps([key, response]).encode() + b"\n")
        except OSError as error:
            self._writes = False
            log.warning("%s: responses are not kept from here on: %s", self._path, error)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read() == b"\n"

    def _key(self, kind: str, request: Any) -> str:
        text = json.dumps([self._model, kind, request], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
