"""``metrics.jsonl`` and ``alerts.jsonl``: a run's scalars and alerts, on the run's own disk."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, SupportsFloat

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from marco.tracking.alerts import Level

log = logging.getLogger(__name__)

FILE_NAME = "metrics.jsonl"
ALERTS = "alerts.jsonl"


def scalar(value: SupportsFloat) -> int | float | None:
    """Return a JSON number: ints stay ints, tensors become floats, NaN and infinities None."""
    if isinstance(value, int):  # bool too: JSON has a word for it
        return value
    number = float(value)
    return number if math.isfinite(number) else None


class LocalLogger(Logger):  # type: ignore[misc]
    """Appends ``{"step": …, "tokens": …, <metric>: …}`` to ``<folder>/metrics.jsonl``.

    One line a step: metrics that several callbacks log at one step are added to that step's line,
    in place, so a line is on disk as soon as it is logged and a killed run loses nothing but a
    torn last line. A metric that a step already has is not written again, which is what makes
    a resumed run's file equal to that of a run that was never interrupted. Values that are not
    finite are written as ``null``. Rank 0 writes; the other ranks do nothing.

    A write that fails (full disk, read-only folder) warns once and never raises; later ones are
    still tried.

    Args:
        folder: the run folder.
        resumed_step: the step of the checkpoint that the run continues from: lines beyond it are
            dropped. None for a new run.
    """

    def __init__(self, folder: Path, resumed_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(folder) / FILE_NAME
        self._record: dict[str, Any] = {}
        self._opened = False
        self._size = 0  # bytes of the file, whole lines all of them
        self._resumed_step = resumed_step
        self._warned = False

    @property
    def name(self) -> str:
        """The logger's name for Lightning."""
        return "local"

    @property
    def version(self) -> str:
        """Lightning asks for it; a run folder has no versions."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is in ``config.yaml``."""

    def log_metrics(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Write ``metrics`` of optimizer step ``step`` (None: of the step written last)."""
        if rank_zero_only.rank != 0:
            return
        try:
            if not self._opened:
                self._open()
            self._write(int(self._record.get("step", 0) if step is None else step), metrics)
        except OSError as error:
            self._failed(self.path, error)

    def alert(self, title: str, text: str, level: Level = "warn") -> None:
        """Add a line to ``alerts.jsonl``, which keeps those of all resumed parts of a run."""
        if rank_zero_only.rank != 0:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"time": now, "level": level, "title": title, "text": text}
        path = self.path.with_name(ALERTS)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            self._failed(path, error)

    def _failed(self, path: Path, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("cannot write %s (%s): the run goes on without these lines", path, error)

    def _open(self) -> None:
        """Drop what lies beyond the resumed step and a torn last line, remember the last line."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        old = self.path.read_bytes()
        kept: list[bytes] = []
        last: dict[str, Any] = {}
        for line in old.splitlines(keepends=True):
            try:
                record = json.loads(line)
                step = int(record["step"])
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill
            if line.endswith(b"\n") and (self._resumed_step is None or step <= self._resumed_step):
                kept.append(line)
                last = record
        new = b"".join(kept)
        if new != old:
            beside = self.path.with_name(self.path.name + ".tmp")
            beside.write_bytes(new)
            os.replace(beside, self.path)
        self._record = last
        self._size = len(new)
        self._opened = True

    def _write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        same = self._record.get("step") == step
        values = {key: scalar(value) for key, value in metrics.items() if key != "step"}
        if same:
            values = {key: value for key, value in values.items() if key not in self._record}
            if not values:
                return
            # over the closing brace of that step's line
            text, offset = ", " + json.dumps(values, ensure_ascii=False)[1:], self._size - 2
            record = self._record | values
        else:
            tokens = {"tokens": values.pop("tokens")} if "tokens" in values else {}
            record = {"step": step} | tokens | values
            text, offset = json.dumps(record, ensure_ascii=False), self._size
        data = text.encode() + b"\n"
        with self.path.open("r+b", buffering=0) as file:
            file.seek(offset)
            try:
                if file.write(data) != len(data):
                    raise OSError("disk full")
            except OSError:
                # a part may have been written: put the end of the last whole line back, in place,
                # where a full disk still has the bytes
                file.seek(offset)
                file.write(b"}\n" if same else b"")
                file.truncate()
                raise
        self._record = record
        self._size = offset + len(data)
