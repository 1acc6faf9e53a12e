"""What the measures of generated text say of real text: false alarms, and natural repetition.

    python -m bench.real_text

The declarations of all languages that the identifier knows are identified, line by line, and those
of all languages looked through for repetition, article by article, both as
`marco.evaluation.generations` does with generated text. Lines are also identified cut after 15, 30
and 60 characters, at a space where there is one. The last line is JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from statistics import fmean

from marco.data.udhr import read_declarations
from marco.evaluation.generations.identifier import Control, Identifier, identify
from marco.evaluation.generations.repetition import repetition
from marco.languages import all_languages, get


def wrong_when_cut(
    declarations: dict[str, dict[int, str]], controls: Mapping[str, Control], length: int
) -> float:
    wrong = count = 0
    for code, control in controls.items():
        for line in "\n".join(declarations[code].values()).splitlines():
            if len(line) > length:
                short = line[:length].rpartition(" ")[0] or line[:length]
                found = identify(short, least=1)
                count += len(found)
                wrong += not control.accepted.issuperset(found)
    return wrong / count


def main() -> None:
    codes = [language.code for language in all_languages() if language.udhr]
    begin = time.perf_counter()
    controls = Identifier(codes).controls
    seconds = time.perf_counter() - begin
    for code, control in sorted(controls.items(), key=lambda each: -each[1].wrong):
        relatives = ", ".join(get(other).name for other in sorted(control.accepted - {code}))
        note = f"; can be called {relatives}" if relatives else ""
        print(f"{get(code).name} ({code}): {control.wrong:.1%} of {control.lines} lines{note}")
    repeated: dict[str, list[float]] = {}
    declarations = read_declarations(codes)
    for code, articles in declarations.items():
        values = [repetition(text) for text in articles.values()]
        mean = fmean(value for value in values if value is not None)
        repeated.setdefault(get(code).script, []).append(mean)
    for script, means in sorted(repeated.items(), key=lambda each: -fmean(each[1])):
        print(f"{script}: repetition {fmean(means):.3f}, at most {max(means):.3f}")
    lines = sum(control.lines for control in controls.values())
    wrong = sum(control.wrong * control.lines for control in controls.values())
    summary = {
        "languages": len(controls),
        "lines": lines,
        "wrong_share": wrong / lines,
        "wrong_share_at_most": max(control.wrong for control in controls.values()),
        "languages_without_one": sum(control.wrong == 0 for control in controls.values()),
        "lines_per_second": lines / seconds,
        "wrong_share_when_cut": {
            length: wrong_when_cut(declarations, controls, length) for length in (15, 30, 60)
        },
        "repetition_by_script": {script: fmean(means) for script, means in repeated.items()},
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
