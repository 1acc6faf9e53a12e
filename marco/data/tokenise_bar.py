"""The progress of tokenising: a bar on a terminal, and a line in the log when it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from marco.data.encoding import Batch
from marco.tracking.console import console

log = logging.getLogger(__name__)


def watched(batches: Iterable[Batch], name: str, total_bytes: int | None) -> Iterator[Batch]:
    """Yield the batches, and show how far they are.

    Args:
        batches: what to watch.
        name: the source's.
        total_bytes: about how many bytes of text there will be; None: nobody knows.
    """
    started = time.monotonic()
    screen = console()
    bar = Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[status]}"),
        console=screen,
        expand=True,
        refresh_per_second=4,
        transient=True,
        disable=not screen.is_terminal or screen.is_dumb_terminal,
    )
    tokens = text_bytes = 0
    with bar:
        task = bar.add_task(f"tokenising {name}", total=total_bytes, status="")
        for batch in batches:
            tokens += len(batch.tokens)
            text_bytes += batch.text_bytes
            speed = text_bytes / 1e6 / (time.monotonic() - started)
            status = f"{text_bytes / 1e6:,.0f} MB · {tokens / 1e6:,.1f} M tokens · {speed:.1f} MB/s"
            bar.update(task, completed=text_bytes, status=status)
            yield batch
    seconds = time.monotonic() - started
    log.info(
        "Tokenised %s: %.1f MB of text, %s tokens, %.1f s.", name, text_bytes / 1e6, f"{tokens:,}",
        seconds,
    )  # fmt: skip
