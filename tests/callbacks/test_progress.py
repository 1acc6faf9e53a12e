from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback
from rich.console import Console

from callbacks import progress
from callbacks.progress import TokenProgress, short_count, short_time
from marco.tracking.pauses import EvaluationBar, training_paused


def screen(monkeypatch: pytest.MonkeyPatch, **options: Any) -> io.StringIO:
    output = io.StringIO()
    shared = Console(file=output, highlight=False, **options)
    monkeypatch.setattr(progress, "console", lambda: shared)
    return output


def visible(output: io.StringIO) -> list[str]:
    """The lines, terminal codes removed."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_without_a_terminal_a_line_every_ten_percent(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = screen(monkeypatch)
    fit_toy(toy(steps=40), TokenProgress(), bar=True)
    lines = visible(output)
    assert lines[0] == "training from   0 % · 0/4.0k tokens · step 0"
    assert [line.split(" %")[0].strip() for line in lines[1:]] == [
        str(percent) for percent in range(10, 101, 10)
    ]
    assert re.fullmatch(
        r" 50 % · 2\.0k/4\.0k tokens · step 20 · loss 0\.500 · \S+ tokens/s · 0:\d\d left", lines[5]
    )
    assert "\x1b" not in output.getvalue()


def test_a_resumed_run_starts_where_it_was(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = toy(steps=10)
    first.stop_at = 7
    fit_toy(first, save=tmp_path / "a.ckpt")
    output = screen(monkeypatch)
    fit_toy(toy(steps=10), TokenProgress(), resume=tmp_path / "a.ckpt", bar=True)
    lines = visible(output)
    assert lines[0] == "resumed at  70 % · 700/1.0k tokens · step 7"
    assert [line[:5] for line in lines[1:]] == [" 80 %", " 90 %", "100 %"]


@pytest.mark.parametrize("width", [80, 140])
def test_bar_in_a_terminal(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    output = screen(monkeypatch, force_terminal=True, width=width, no_color=True)

    class Sweep(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if pl_module.at_boundary and pl_module.step == 5:
                with training_paused(trainer.callbacks, "evaluating"):
                    progress.console().print("macro 2.31")

    fit_toy(toy(steps=10), TokenProgress(), Sweep(), bar=True)
    lines = visible(output)
    assert "macro 2.31" in lines
    assert any(re.search(r"evaluating .* 50 %  500/1\.0k$", line) for line in lines)
    last = r"training .*100 %  1\.0k/1\.0k{} · loss 1\.000 · \S+ {}/s · 0:00 left"
    words = ("", "tok") if width == 80 else (r" tokens · step 10", "tokens")
    assert re.search(last.format(*words), lines[-1])
    assert all(len(line) <= width for line in lines)
    assert "\x1b[3" not in output.getvalue()  # NO_COLOR: no colours


@pytest.mark.parametrize("terminal", [True, False])
def test_stages_are_shown(
    toy: Any,
    fit_toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    terminal: bool,
) -> None:
    output = screen(monkeypatch, force_terminal=terminal, width=100, no_color=True)
    module = toy(steps=10)
    module.stages = (("broad", 400), ("decay", 1000))
    with caplog.at_level(logging.INFO, "callbacks.progress"):
        fit_toy(module, TokenProgress(), bar=True)
    assert caplog.messages == ["Stage broad: 400 tokens", "Stage decay: 600 tokens"]
    shown = [line for line in visible(output) if re.match(r"\s*(broad|decay) ", line)]
    assert bool(shown) is terminal
    if terminal:
        assert re.search(r"decay .*100 %  600/600$", shown[-1])


def test_a_bar_for_the_evaluation_which_goes_away(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = screen(monkeypatch, force_terminal=True, width=100, no_color=True)

    class Sweep(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if pl_module.at_boundary and pl_module.step == 5:
                bar = next(c for c in trainer.callbacks if isinstance(c, EvaluationBar))
                with training_paused(trainer.callbacks, "evaluating"):
                    for done in (0, 30, 120):
                        bar.evaluation_progress("belebele", done, 120)
                        bar._bar.refresh()

    fit_toy(toy(steps=10), TokenProgress(), Sweep(), bar=True)
    lines = visible(output)
    seen = [index for index, line in enumerate(lines) if "belebele" in line]
    assert re.search(r"belebele .* 25 %", "\n".join(lines))
    assert "evaluating" in lines[seen[0] - 1]
    assert seen[-1] < len(lines) - 1


def test_an_error_leaves_the_terminal_usable(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = screen(monkeypatch, force_terminal=True, width=100)

    class Fails(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fit_toy(toy(steps=3), TokenProgress(), Fails(), bar=True)
    assert output.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is shown again


def test_disabled_shows_nothing(toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    output = screen(monkeypatch)
    bar = TokenProgress()
    bar.disable()
    fit_toy(toy(steps=3), bar, bar=True)
    assert output.getvalue() == ""


def test_short_forms() -> None:
    counts = [0, 950, 12_345, 4_560_000, 1_200_000_000]
    assert [short_count(n) for n in counts] == ["0", "950", "12.3k", "4.56M", "1.20B"]
    assert [short_time(s) for s in (0.4, 42, 725, 11_229)] == ["0:00", "0:42", "12:05", "3:07:09"]
