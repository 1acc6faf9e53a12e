"""Compare two models' answers in every language by a third: MT-bench.

marco judge model.path=runs/last baseline.path=Qwen/Qwen2-0.5B-Instruct questions=questions.jsonl
            judge.url=http://localhost:8000/v1 judge.model=… [key=value] …

  model.path=…, baseline.path=…     chat models: a run, a folder of transformers, a hub name
  model.answers=, baseline.answers= or a file of answers made elsewhere, of FastChat's form
  questions=questions.jsonl         of FastChat's form, with a language on each line
  languages=[swh,yor]               only questions in these
  judge.url=… judge.model=…         any OpenAI-compatible endpoint, and the judge's name there
  judge.key_variable=OPENAI_API_KEY the environment variable that has its key
  output=evaluations                <output>/<model>/mt_bench/<time> has the results

Everything else is in conf/judge.yaml. Each turn is judged in both orders, and won only if both
agree. What was answered and judged before an interruption is not asked again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, MarcoError

if TYPE_CHECKING:
    from marco.config import Sources
    from marco.config.judge import JudgeSettings
    from marco.evaluation.history import Evaluation
    from marco.evaluation.judge.judging import Comparison
    from marco.evaluation.judge.questions import Question
    from marco.evaluation.progress import ProgressBar
    from marco.evaluation.rows import Row

log = logging.getLogger(__name__)

SIDES = ("model", "baseline")


@dataclasses.dataclass(frozen=True)
class Point:
    """One comparison to make: its settings, its config for the folder, and its questions."""

    settings: JudgeSettings
    config: dict[str, Any]
    questions: list[Question]


def main(arguments: list[str]) -> int:
    """Check every comparison, then make one after the other; 1 where one failed."""
    parser = argparse.ArgumentParser(
        prog="marco judge",
        usage="marco judge model.path=… baseline.path=… questions=… judge.url=… judge.model=… "
        "[key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", help="search your own configs first")
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)

    from marco.config import Sources, split_sweep
    from marco.evaluation.compare_table import overview
    from marco.tracking.console import console

    extra = None if given.config_dir is None else Path(given.config_dir)
    sources = Sources(extra=extra, name="judge")
    points = [_point(one, sources) for one in split_sweep(given.overrides, sources=sources)]
    made: list[tuple[str, Evaluation]] = []
    failed = 0
    for point in points:
        try:
            made.append(_compare(point))
        except MarcoError as error:
            if len(points) == 1:
                raise
            failed += 1
            log.error("error: %s", error)
        except KeyboardInterrupt:
            console().print("Interrupted. The same command goes on: what is known is kept.")
            return 130
    if len(made) > 1:
        console().print(overview([(name, _verdicts(found)) for name, found in made]))
    judged = [any(r.metric == "win" and r.value is not None for r in e.rows) for _, e in made]
    return 1 if failed or not all(judged) else 0


def _point(overrides: list[str], sources: Sources) -> Point:
    from marco.config import bind_root, compose, resolved
    from marco.config.judge import JudgeSettings
    from marco.evaluation.judge.questions import read_questions

    cfg = compose(overrides, sources=sources)
    settings = bind_root(cfg, JudgeSettings)
    for package in ("lm_eval", "py3langid"):
        if find_spec(package) is None:
            raise ConfigError(
                f'marco judge needs the package {package}: pip install "marco-train[eval]".'
            )
    settings.judge.key()
    questions = read_questions(
        Path(settings.questions), settings.languages, settings.items_per_language
    )
    for key in SIDES:
        side = getattr(settings, key)
        side.check(key, questions)
        settings.kernels.check("cpu" if side.device == "cpu" else "auto")
    return Point(settings, resolved(cfg), questions)


def _compare(point: Point) -> tuple[str, Evaluation]:
    from marco.commands._results import loggers_of, open_results, place_of
    from marco.evaluation.history import Evaluation
    from marco.evaluation.judge.endpoint import Judge
    from marco.evaluation.judge.judging import judge
    from marco.evaluation.judge.results import write_comparison
    from marco.evaluation.judge.scores import TASK
    from marco.evaluation.judge.table import judge_table
    from marco.evaluation.lm.cache import RequestCache
    from marco.evaluation.progress import ProgressBar
    from marco.evaluation.results.table import Measured
    from marco.evaluation.standalone import CACHE, publish
    from marco.tracking.console import console
    from marco.training.allocator import keep_few_primitives, keep_pages

    keep_few_primitives()
    keep_pages()
    settings, questions = point.settings, point.questions
    asked = Judge(settings.judge)
    asked.check()
    model = settings.model.enter("model", questions, settings.kernels)
    place = place_of(settings.output, model.name, model.checkpoint)
    folder = open_results(place, TASK, settings.output, point.config)
    known = RequestCache(place / CACHE, json.dumps(settings.judge.identity, sort_keys=True))
    opened = loggers_of(
        settings.logger,
        folder,
        point.config,
        job_type="judge",
        title=f"{model.title} · mt_bench",
        experiment=model.name.partition("/")[0] if model.checkpoint else None,
    )
    with opened as loggers, ProgressBar() as bar:
        answers = model.answer(questions, settings.answering, place / CACHE, _shown(bar, "model"))
        baseline = settings.baseline.enter("baseline", questions, settings.kernels)
        others = baseline.answer(
            questions,
            settings.answering,
            place_of(settings.output, baseline.name, baseline.checkpoint) / CACHE,
            _shown(bar, "baseline"),
        )
        comparisons = judge(
            questions,
            answers,
            others,
            asked.ask,
            concurrency=settings.judge.concurrency,
            cache=known,
            progress=_shown(bar, "judgements"),
        )
        if known.hits:
            log.info("%d judgements were known from before.", known.hits)
        of = Measured(model.name, model.checkpoint or "", model.tokens)
        rows, aggregates = write_comparison(
            folder, of, questions, answers, (baseline.title, others), comparisons
        )
        found = Evaluation(model.step or 0, model.tokens or 0, tuple(rows))
        publish(loggers, found, folder)
    title = f"{model.title} against {baseline.title}"
    console().print(judge_table(rows, aggregates, title))
    _show_answers(rows, comparisons)
    console().print(f"Results: {folder}", soft_wrap=True)
    return title, found


def _verdicts(found: Evaluation) -> Evaluation:
    """The judge's rows alone, each metric as a task: a column of its name."""
    from marco.evaluation.judge.scores import METRICS

    rows = tuple(row.but(task=row.metric) for row in found.rows if row.metric in METRICS)
    return dataclasses.replace(found, rows=rows)


def _show_answers(rows: list[Row], comparisons: list[list[Comparison]]) -> None:
    """Print what the model's answers are like, and why judgements failed."""
    from marco.evaluation.judge.scores import METRICS, failures
    from marco.evaluation.task_table import task_tables
    from marco.tracking.console import console

    of_text = [row for row in rows if row.metric not in METRICS]
    for table in task_tables(of_text, "The model's answers"):
        console().print(table)
    failed = failures(comparisons)
    if failed:
        total = 2 * sum(map(len, comparisons))
        lines = [f"{failed.total()} of {total} judgements failed:"]
        lines += [f"  {count} × {reason}" for reason, count in failed.most_common(5)]
        console().print("\n".join(lines), style="yellow", soft_wrap=True, markup=False)


def _shown(bar: ProgressBar, name: str) -> Callable[[int, int], None]:
    return functools.partial(bar, name)
