"""A source that is a Hugging Face dataset, of the hub or local: `_target_: marco.data.hub.HubText`.

Needs the extra `hub` (`pip install "marco-train[hub]"`). No code of a dataset is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from marco.data.documents import Document
from marco.data.hub_load import check_place, load
from marco.data.settings import SourceSettings
from marco.data.stores import SEVERAL
from marco.data.token_cache import tokenised
from marco.errors import ConfigError, DataError, nearest
from marco.languages import get

if TYPE_CHECKING:
    from marco.data.stores import Source
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

_ROWS = 1000  # read at a time


@dataclass(frozen=True)
class HubText(SourceSettings):
    """Settings of a dataset that the `datasets` library loads.

    Tokenised once, and kept under the dataset's own fingerprint and these settings.

    Attributes:
        path: a name of the hub ("HuggingFaceFW/fineweb-2"), a local folder, or a format with
            `data_files`: parquet, json (also .jsonl), csv, text.
        name: the dataset's configuration, such as "swh_Latn".
        split: such as "train" or "train[:10%]".
        text_column: where the text is.
        id_column: where a name of each document is; None: they have none.
        revision: branch, tag or commit; name a commit to get the same text for ever.
        data_files: the files to read, globs too: of the dataset, or local ones.
        filter: column → value: only rows that have all of these.
        language: the text's language; None: the source's name is one.
    """

    path: str
    name: str | None = None
    split: str = "train"
    text_column: str = "text"
    id_column: str | None = None
    revision: str | None = None
    data_files: str | list[str] | None = None
    filter: dict[str, str | int | float | bool] | None = None
    language: str | None = None

    def check(self, where: str) -> None:
        """Look whether it is there, without loading it; asks the hub for a hub name.

        Args:
            where: the key of these settings, such as "data.sources.eng".

        Raises:
            ConfigError: the extra is missing; nothing at `path`; an unknown language.
        """
        if find_spec("datasets") is None:
            raise ConfigError(
                f"{where}: marco.data.hub.HubText needs the extra hub: "
                'pip install "marco-train[hub]".'
            )
        if self.language is not None and self.language != SEVERAL:
            get(self.language)
        check_place(self.path, self.revision, self.data_files, where)

    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """Load, tokenise, or take from the cache.

        Raises:
            ConfigError: as `check` does; there is no such configuration, split or column.
            DataError: it cannot be loaded, the column holds no text, or only empty ones.
        """
        where = f"data.sources.{name}"
        self.check(where)
        rows = load(self.path, self.name, self.split, self.revision, self.data_files, where)
        for key, column in (("text_column", self.text_column), ("id_column", self.id_column)):
            self._check_column(rows, f"{where}.{key}", column)
        wanted = self._wanted(rows, f"{where}.filter")
        settings = [rows._fingerprint, self.split, self.text_column, self.filter]
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        documents = self._documents(rows, wanted, language, where)
        source = tokenised(name, language, documents, key, tokenizer, rows.size_in_bytes)
        if len(source.store) == 0:
            raise DataError(
                f"{where}: {self.path} has no text in column '{self.text_column}'"
                + (f" where {self.filter}." if self.filter else ".")
            )
        # The library's fingerprint is another one on another machine, where a run may go on.
        return replace(source, content=str(source.text_bytes))

    @staticmethod
    def _check_column(rows: Any, key: str, column: str | None) -> None:
        if column is not None and column not in rows.column_names:
            raise ConfigError(
                f"{key}: the dataset has no column '{column}'.{nearest(column, rows.column_names)} "
                f"There are {', '.join(rows.column_names)}."
            )

    def _wanted(self, rows: Any, key: str) -> dict[str, Any]:
        """Return the filter with values of its columns' types."""
        import pyarrow as pa

        wanted = {}
        for column, value in (self.filter or {}).items():
            self._check_column(rows, key, column)
            kind = rows.features.arrow_schema.field(column).type
            try:
                wanted[column] = pa.scalar(value).cast(kind)
            except pa.ArrowException:
                raise ConfigError(
                    f"{key}: column '{column}' holds {kind}, and {value!r} is none."
                ) from None
        return wanted

    def _documents(
        self, rows: Any, filter_: dict[str, Any], language: str, where: str
    ) -> Iterator[Document]:
        """Yield the documents; what was dropped is logged after the last one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = rows.features.arrow_schema.field(self.text_column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{where}.text_column={self.text_column} holds {kind}, not strings.")
        wanted = dict.fromkeys(c for c in (self.text_column, self.id_column) if c is not None)
        columns = list(dict.fromkeys((*wanted, *filter_)))
        empty = row = 0
        for table in rows.select_columns(columns).with_format("arrow").iter(_ROWS):
            ids = table[self.id_column].to_pylist() if self.id_column else [None] * len(table)
            keep = [True] * len(table)
            for column, value in filter_.items():
                same = pc.equal(table[column], value)
                keep = [a and bool(b) for a, b in zip(keep, same.to_pylist(), strict=True)]
            for text, id_, kept in zip(table[self.text_column], ids, keep, strict=True):
                row += 1
                if not kept:
                    continue
                try:
                    content = unicodedata.normalize("NFC", (text.as_py() or "").strip())
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{where}: {self.path}, row {row}: not valid UTF-8 at byte {error.start}."
                    ) from None
                if content:
                    place = str(row) if id_ is None else str(id_)
                    yield Document(content, language, self.path, place)
                else:
                    empty += 1
        if empty:
            log.warning("%s: %d rows dropped, which have no text.", where, empty)
