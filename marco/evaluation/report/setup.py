"""How the run was made: its commands, its config, and what was warned of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

from marco.evaluation.report.read import RunFolder

#: Warnings shown; the others are in the log.
MOST = 50


def commands(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return the command lines of a run, ready for a shell: its start, and each resume of it."""
    found = []
    for given in overrides:
        # whoever starts it anew resumes the new run, not this folder
        plain = ["resume=last" if word.startswith("resume=") else word for word in given]
        found.append(shlex.join(["python", "train.py", *plain]))
    return found


def reproduce(run: RunFolder) -> str:
    """Return the commands."""
    lines = escape("\n".join(commands(run.overrides)))
    return (
        f'<div class="command"><pre id="command">{lines}</pre>'
        '<button type="button" data-copy="command">Copy</button></div>'
        '<p class="dim">With the same commit of marco. Secrets are not in it.</p>'
    )


def config(run: RunFolder) -> str:
    """Return the resolved config, folded."""
    return (
        "<details><summary>Every key, resolved</summary>"
        f"<pre>{escape(run.config_text)}</pre></details>"
    )


def warned(run: RunFolder) -> str:
    """Return what the log warns of, each once."""
    found = run.log.warnings
    if not found:
        return "<p>None.</p>"
    lines = [
        f"<li>{escape(text)}{f' <b>× {count}</b>' if count > 1 else ''}</li>"
        for text, count in list(found.items())[:MOST]
    ]
    rest = len(found) - len(lines)
    more = f"<p>{rest} more in <code>log.txt</code>.</p>" if rest else ""
    return f'<ul class="warnings">{"".join(lines)}</ul>{more}'
