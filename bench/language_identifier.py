"""How often real text is called another language: the false alarms of language confusion.

    python -m bench.language_identifier

Every declaration of a language that the identifier knows is identified, line by line, as
`marco.evaluation.generations` does with generated text. The last line is JSON.
"""

from __future__ import annotations

import json
import time

from marco.evaluation.generations.identifier import Identifier
from marco.languages import all_languages, get


def main() -> None:
    begin = time.perf_counter()
    controls = Identifier([language.code for language in all_languages()]).controls
    seconds = time.perf_counter() - begin
    for code, control in sorted(controls.items(), key=lambda each: -each[1].wrong):
        relatives = ", ".join(get(other).name for other in sorted(control.accepted - {code}))
        note = f"; can be called {relatives}" if relatives else ""
        print(f"{get(code).name} ({code}): {control.wrong:.1%} of {control.lines} lines{note}")
    lines = sum(control.lines for control in controls.values())
    wrong = sum(control.wrong * control.lines for control in controls.values())
    summary = {
        "languages": len(controls),
        "lines": lines,
        "wrong_share": wrong / lines,
        "most": max(control.wrong for control in controls.values()),
        "languages_without_one": sum(control.wrong == 0 for control in controls.values()),
        "lines_per_second": lines / seconds,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
