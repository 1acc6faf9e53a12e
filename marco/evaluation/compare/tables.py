"""A comparison in a terminal, at most 100 columns wide."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from marco.evaluation.compare.configs import as_text
from marco.evaluation.compare.differences import Comparison
from marco.evaluation.compare.measure import Difference
from marco.evaluation.compare.report import Report, letter
from marco.evaluation.numbers import short
from marco.evaluation.rows import macro
from marco.evaluation.task_table import NOTHING, heading, number
from marco.languages import get

#: Lines of configs and ledgers; all of them are in the files.
LINES = 16
#: How p-values are corrected, in words.
HOW = {"holm": "Holm", "bh": "Benjamini–Hochberg"}
#: What is said of runs that are all of one setting.
SEEDS_ALONE = (
    "These runs differ by their seed alone: there is nothing to compare, and how far they are "
    "apart is noise. Give runs of another setting too, or seeds=apart."
)
_STYLES = {"better": "green", "worse": "bold red", "changed": "yellow", "": ""}


def tables(report: Report, everything: bool = False) -> Iterator[Table | Text]:
    """Yield what is printed, in its order.

    Args:
        report: what was compared.
        everything: every language of every metric; else those that differ by more than luck.
    """
    yield _runs(report)
    if report.configs:
        yield _values(report, "Config, where it differs", "key", list(config_lines(report)))
    if report.ledgers:
        yield _values(
            report, "Trained on, where it differs: tokens (epochs)", "", list(ledger_lines(report))
        )
    if report.losses:
        lines = [
            (f"{short(line.tokens)} tokens", list(map(number, line.values)))
            for line in report.losses
        ]
        yield _values(report, "Training loss, mean up to", "", lines)
    if len(report.groups) == 1:
        yield from _seeds(report)
    for index, comparison in enumerate(report.comparisons, 1):
        yield from _comparison(report, comparison, letter(index), everything)


def _runs(report: Report) -> Table:
    table = _table("Runs")
    for name in ("", "run"):
        table.add_column(name, overflow="fold")
    for name in ("seed", "evaluated after"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, run in zip(report.labels, report.runs, strict=True):
        tokens = NOTHING if run.tokens is None else f"{short(run.tokens)} tokens"
        table.add_row(label, Text(run.name), str(run.config.get("seed", NOTHING)), tokens)
    return table


def _values(report: Report, title: str, name: str, lines: list[tuple[str, list[str]]]) -> Table:
    table = _table(title)
    table.add_column(name, overflow="fold", max_width=44)
    for label in report.labels:
        table.add_column(label, justify="right", overflow="fold")
    for key, values in lines[:LINES]:
        table.add_row(Text(key), *map(Text, values))
    if len(lines) > LINES:
        table.add_row(f"… and {len(lines) - LINES} more", *[""] * len(report.labels), style="dim")
    return table


def config_lines(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yield each key that differs, and its values as text."""
    for key, values in report.configs.items():
        yield key, [as_text(value) for value in values]


def ledger_lines(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yield each language that differs, and its tokens and epochs as text."""
    for line in report.ledgers:
        counts = [
            NOTHING if count is None else f"{short(count.tokens)} ({count.epochs:.2f})"
            for count in line.counts
        ]
        yield get(line.language).name, counts


def _comparison(
    report: Report, comparison: Comparison, name: str, everything: bool
) -> Iterator[Table | Text]:
    if comparison.measures:
        yield _overview(comparison, name)
    for task, metric in comparison.measures:
        mine = comparison.of(task, metric)
        shown = mine if everything else [each for each in mine if each.verdict]
        if shown:
            title = (
                f"{title_of(task, metric)}: {name} less A in {len(shown)} of {len(mine)} "
                f"languages, p corrected ({HOW[report.correction]})"
            )
            yield _languages(shown, title)
    yield from _remarks(report, comparison)


def _overview(comparison: Comparison, name: str) -> Table:
    table = _table(
        f"{name} less A: means over languages, and in how many of them it is better, worse"
    )
    table.add_column("", overflow="fold", min_width=14)
    for title in ("A", name, f"{name} - A", "95 % interval", "p", "better", "worse", "of", "flips"):
        table.add_column(title, justify="right", no_wrap=title != "95 % interval")
    means = {(each.task, each.metric): each for each in comparison.means}
    for task, metric in comparison.measures:
        mine = comparison.of(task, metric)
        mean = means.get((task, metric), mine[0])
        counts = [
            str(sum(each.verdict == verdict for each in mine)) for verdict in ("better", "worse")
        ]
        table.add_row(
            heading(title_of(task, metric)),
            number(mean.before),
            number(mean.after),
            _signed(mean),
            interval(mean),
            p_value(mean.p),
            *(counts if any(not math.isnan(each.p) for each in mine) else [NOTHING] * 2),
            str(len(mine)),
            flips(mean),
        )
    table.caption = "flips: items right in A and wrong after / wrong in A and right after"
    table.caption_justify = "left"
    return table


def _languages(shown: Sequence[Difference], title: str) -> Table:
    table = _table(title)
    table.add_column("Language", no_wrap=True, overflow="ellipsis", min_width=8, max_width=18)
    table.add_column("", no_wrap=True)
    names = ("before", "after", "change", "95 % interval", "p", "n", "flips")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for each in shown:
        assert each.language is not None
        values = [
            with_error(value, stderr)
            for value, stderr in zip((each.before, each.after), each.stderrs, strict=True)
        ]
        table.add_row(
            Text(get(each.language).name),
            each.language,
            *values,
            _signed(each),
            interval(each),
            p_value(each.adjusted),
            str(each.n),
            flips(each),
        )
    return table


def _seeds(report: Report) -> Iterator[Table | Text]:
    """Of seeds alone there is nothing to compare: how far they are apart."""
    (group,) = report.groups
    table = _table("Means over languages of each seed, and the standard deviation between seeds")
    table.add_column("", overflow="fold", min_width=14)
    for label in (*report.labels, "deviation"):
        table.add_column(label, justify="right", no_wrap=True)
    for task, metric in dict.fromkeys(key[:2] for run in group.runs for key in run.measured):
        means = [macro(run.rows, metric, task) for run in group.runs]
        known = [mean for mean in means if mean is not None]
        spread = statistics.stdev(known) if len(known) > 1 else None
        table.add_row(heading(title_of(task, metric)), *map(number, (*means, spread)))
    yield table
    yield Text(SEEDS_ALONE, style="yellow")


def _remarks(report: Report, comparison: Comparison) -> Iterator[Text]:
    for wrong in comparison.mismatches:
        yield Text(f"Not compared, the items differ: {wrong}", style="bold red")
    for remark in remarks(report, comparison):
        yield Text(remark, style="dim")


def remarks(report: Report, comparison: Comparison) -> Iterator[str]:
    """Yield what one should know to read a comparison."""
    if not comparison.measures:
        yield "Nothing was measured in all runs on the same items: there is nothing to compare."
    for task, metric in dict.fromkeys((task, metric) for task, metric, _ in comparison.missing):
        codes = [code for t, m, code in comparison.missing if (t, m) == (task, metric)]
        listed = ", ".join(codes[:8]) + (f" and {len(codes) - 8} more" if len(codes) > 8 else "")
        yield f"Not in all runs: {title_of(task, metric)} of {listed}"
    tokens = {run.tokens for side in (comparison.before, comparison.after) for run in side.runs}
    if len(tokens) > 1:
        yield "The runs were evaluated after different numbers of tokens."
    if max(len(comparison.before.runs), len(comparison.after.runs)) == 1:
        yield (
            "One run each: what is found tells these two models apart. Whether what was changed "
            "would do it again, only seeds say: give runs of several."
        )
    few = _too_few(report, comparison)
    if few:
        yield f"Too few items for any language alone to be a finding: {', '.join(few)}."


def _too_few(report: Report, comparison: Comparison) -> list[str]:
    """Metrics of so few items that no outcome could pass: n of them give 2 / 2^n at best."""
    found = []
    for task, metric in comparison.measures:
        mine = comparison.of(task, metric)
        least = [2.0 ** (each.method == "sign-flip") / 2.0**each.n for each in mine]
        paired = all(each.method in ("sign-flip", "mcnemar") for each in mine)
        if paired and min(least) * len(mine) > report.level:
            found.append(title_of(task, metric))
    return found


def title_of(task: str, metric: str) -> str:
    """Return what a metric of a task is called."""
    return f"{task} · {metric}"


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.title_justify = "left"
    return table


def _signed(each: Difference) -> Text:
    return Text(signed(each.difference), style=_STYLES[each.verdict])


def signed(value: float) -> str:
    """Return a change with its sign, with as many digits as `number` has."""
    return f"{value:+.3f}" if abs(value) < 10 else f"{value:+.1f}"


def with_error(value: float, stderr: float | None) -> str:
    """Return a value, with its standard error between seeds if it has one."""
    return number(value) if stderr is None else f"{number(value)}±{number(stderr)}"


def interval(each: Difference) -> str:
    """Return a difference's interval, or that there is none."""
    if each.low is None or each.high is None:
        return NOTHING
    digits = 3 if max(abs(each.low), abs(each.high)) < 10 else 1
    return f"[{each.low:+.{digits}f}, {each.high:+.{digits}f}]"


def p_value(p: float) -> str:
    """Return a p-value to three digits; below 0.001 only that it is."""
    return NOTHING if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def flips(each: Difference) -> str:
    """Return how many items went wrong and right: ``3/12``."""
    if each.worse is None or each.improved is None:
        return ""
    return f"{each.worse:.3g}/{each.improved:.3g}"
