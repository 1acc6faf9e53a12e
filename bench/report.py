"""How long the report of a large run takes, and how large it is.

python -m bench.report [languages=29] [evaluations=50] [to=FOLDER]

Makes a run folder of so many languages and evaluations: 14 metrics, a translation matrix among 10
languages, a line of metrics every 10 of 20,000 steps, a sample a language. The numbers are made
up, by a seed. Times `marco report` on it as a process of its own (imports too) and, in this one,
its parts; the best of three. The processor's time is what the clock says on a quiet machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import yaml

from marco.evaluation.history import Evaluation, write_history
from marco.evaluation.report.measures import measures
from marco.evaluation.report.page import page
from marco.evaluation.report.read import read_run
from marco.evaluation.rows import Row
from marco.evaluation.summary import TrainingFacts, build_summary, write_summary
from marco.languages import MARCO_LANGUAGES, all_languages, get

T = TypeVar("T")
STEPS, EVERY, TOKENS = 20_000, 10, 1_000
TASKS = ("belebele", "xnli", "xcopa", "mgsm", "include", "lid")
TEXTS = ("wrong_language", "wrong_script", "too_short", "length_ratio", "repetition")


def languages(count: int) -> list[str]:
    """Return the paper's 29, then others that have a declaration."""
    others = [each.code for each in all_languages() if each.udhr is not None]
    return list(dict.fromkeys([*MARCO_LANGUAGES, *others]))[:count]


def rows(codes: list[str], done: float, random: np.random.Generator) -> Iterator[Row]:
    """Yield an evaluation's rows when a share of the training is done."""
    for code in codes:
        group = get(code).group
        noise = random.normal(0, 0.05, 14)
        bits = 2 + 4 * np.exp(-4 * done) + noise[0]
        yield Row("likelihood", code, group, "bits_per_byte", bits, 5, bits - 0.1, bits + 0.1)
        yield Row("likelihood", code, group, "nats_per_article", 300 * bits, 5)
        for task, extra in zip(TASKS, noise[1:], strict=False):
            yield Row(task, code, group, "acc", float(0.3 + 0.4 * done + extra), 100)
        yield Row("flores", code, group, "chrf++", float(40 * done + noise[7]), 100)
        for metric, extra in zip(TEXTS, noise[9:], strict=False):
            yield Row("flores", code, group, metric, float(abs(extra)), 100)
    for source in codes[:10]:
        for target in codes[:10]:
            if source != target:
                group, pair = get(target).group, f"{source}_{target}"
                score = float(40 * done + random.normal(0, 1))
                yield Row(
                    "flores", target, group, "chrf++", score, 100, subtask=pair, source=source
                )


def make_folder(folder: Path, codes: list[str], evaluations: int) -> None:
    """Write the run."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    dones = np.linspace(0, 1, evaluations)
    history = [
        Evaluation(int(STEPS * done), int(STEPS * done) * TOKENS, tuple(rows(codes, done, random)))
        for done in dones
    ]
    write_history(folder, history)
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": "bench", "languages": codes}))
    (folder / "overrides.txt").write_text(f"data.languages=[{','.join(codes)}]\n")
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(EVERY, STEPS + 1, EVERY):
            loss = 2 + 8 * np.exp(-step / 4000)
            line = {"step": step, "tokens": step * TOKENS, "train/loss": loss}
            line |= {"train/tokens_per_second": 4e4, "train/seconds": step / 40}
            line |= {f"train/loss/{code}": loss + random.normal(0, 0.1) for code in codes}
            line |= {f"data/tokens/{code}": step * TOKENS // len(codes) for code in codes}
            file.write(json.dumps(line) + "\n")
    with (folder / "samples.jsonl").open("w") as file:
        for code in codes:
            sample = {"step": STEPS, "tokens": STEPS * TOKENS, "language": code}
            words = {"prompt": "a " * 50, "text": "b " * 50, "reference": "c " * 50}
            file.write(json.dumps({**sample, **words, "wrong_language": None}) + "\n")
    tokens = dict.fromkeys(codes, STEPS * TOKENS // len(codes))
    epochs = dict.fromkeys(codes, 1.5)
    counts = {code: {"tokens": tokens[code], "epochs": 1.5} for code in codes}
    facts = TrainingFacts(STEPS * TOKENS, 500.0, 10**10, tokens, epochs, {"languages": counts})
    write_summary(folder, build_summary(facts, history, {}))


def cpu() -> float:
    """Return the seconds of processor time that this process and its ended children took."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def best(what: Callable[[], T]) -> tuple[str, T]:
    """Return the shortest of three times, and what came out: by the clock, of the processor."""
    clocks, processors = [], []
    for _ in range(3):
        start, spent = time.perf_counter(), cpu()
        found = what()
        clocks.append(time.perf_counter() - start)
        processors.append(cpu() - spent)
    return f"{min(clocks):10.2f} {min(processors):10.2f}", found


def main() -> None:
    """Make the folder, time the page, print a table."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    count, evaluations = int(given.get("languages", 29)), int(given.get("evaluations", 50))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(given.get("to", place)) / "bench" / f"{count}x{evaluations}"
        make_folder(folder, languages(count), evaluations)
        code = f"from marco.commands import main; main(['report', {str(folder)!r}])"
        command = [sys.executable, "-c", code]
        whole, _ = best(lambda: subprocess.run(command, check=True, capture_output=True))
        reading, run = best(lambda: read_run(folder))
        measuring, _ = best(lambda: measures(run.history))
        writing, text = best(lambda: page(run))
        print(f"{count} languages, {evaluations} evaluations; seconds: by the clock, processor's")
        print(f"marco report, imports too   {whole}")
        print(f"  reading the folder        {reading}")
        print(f"  the page                  {writing}")
        print(f"    of it sorting the rows  {measuring}")
        print(f"the page's size             {len(text.encode()) / 1e6:10.2f} MB")


if __name__ == "__main__":
    main()
