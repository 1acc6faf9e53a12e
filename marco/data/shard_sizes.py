"""What the sizes of a shard's files say: documents, tokens, and whether it is damaged."""

from __future__ import annotations

from dataclasses import dataclass

from marco.data.remote import filesystem, retried
from marco.errors import DataError

SHARD, INDEX, LOSS = ".ds", ".ds.index", ".ds.loss"
#: Bytes of an index entry, the end of a document in tokens.
ENTRY_BYTES = 8
_AGAIN = "Write or copy the shard again."


@dataclass(frozen=True)
class ShardFile:
    """A shard as it was listed; `None` is a file that is not there.

    Attributes:
        path: of its `.ds` file: absolute, or a URL.
        version: different where the content of any of its files is.
        size: bytes of the tokens.
        index: bytes of the documents' ends.
        loss: bytes of the mask.
    """

    path: str
    version: str
    size: int
    index: int | None
    loss: int | None


def holds_documents(shard: ShardFile) -> bool:
    """False for an empty shard. Raises DataError where shard and index do not go together."""
    path, index = shard.path, shard.index
    if index is None:
        raise DataError(
            f"{path}: there is no {path.rpartition('/')[2]}.index beside it, which says where "
            "documents end. datatrove writes it with save_index=True."
        )
    if index % ENTRY_BYTES:
        raise DataError(
            f"{path}.index has {index} bytes, no multiple of {ENTRY_BYTES}: truncated. {_AGAIN}"
        )
    if (shard.size == 0) != (index == 0):
        empty, other = (path, f"{path}.index") if shard.size == 0 else (f"{path}.index", path)
        raise DataError(f"{empty} is empty (0 bytes), and {other} is not. {_AGAIN}")
    return index > 0


def check_sizes(shard: ShardFile, token_bytes: int) -> None:
    """Raise DataError where the sizes are of no shard with tokens of so many bytes."""
    tokens, rest = divmod(shard.size, token_bytes)
    if rest:
        raise DataError(
            f"{shard.path} has {shard.size} bytes, no multiple of {token_bytes}, the bytes of a "
            f"token: truncated, or of another tokenizer than the first. {_AGAIN}"
        )
    if shard.loss is not None and shard.loss != tokens:
        raise DataError(
            f"{shard.path}.loss has {shard.loss} bytes, and the shard {tokens} tokens: it should "
            f"have a byte a token. {_AGAIN}"
        )


def token_bytes_of(shard: ShardFile, where: str) -> int:
    """Return what `.ds.metadata` says, else what the end of the index leaves as possible."""
    files, name = filesystem(shard.path, where)
    assert shard.index is not None
    tail = (shard.index - ENTRY_BYTES, shard.index)
    try:
        text = retried(lambda: files.cat_file(f"{name}.metadata"), f"reading {shard.path}.metadata")
        said = text.split(b"\n", 1)[0].rpartition(b"|")[2].strip()
        if said in (b"2", b"4"):
            return int(said)
    except FileNotFoundError:
        pass  # written with save_final_metadata=False
    try:
        data = retried(
            lambda: files.cat_file(f"{name}.index", *tail), f"reading {shard.path}.index"
        )
    except FileNotFoundError:
        raise DataError(f"{shard.path}.index was there a moment ago, and is gone.") from None
    tokens = int.from_bytes(data, "little")
    if tokens == 0 or shard.size not in (2 * tokens, 4 * tokens):
        raise DataError(
            f"{shard.path} has {shard.size} bytes, and its index ends at token {tokens}: that is "
            f"neither 2 nor 4 bytes a token. Shard or index is truncated. {_AGAIN}"
        )
    return shard.size // tokens
