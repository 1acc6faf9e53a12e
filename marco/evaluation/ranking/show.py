"""A ranking in a terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from marco.evaluation.compare.tables import interval, p_value, signed, title_of, with_error
from marco.evaluation.ranking.rank import Ranked
from marco.evaluation.ranking.report import Ranking
from marco.evaluation.ranking.settings import command
from marco.evaluation.rows import better
from marco.evaluation.task_table import NOTHING
from marco.tracking.console import console

#: Lines of a table; all of them are in the files.
LINES = 20
#: Swept keys that have a column each; of more, a setting is told in one column.
COLUMNS = 3


def tables(ranking: Ranking) -> Iterator[Table | Text | str]:
    """Yield what is printed, in its order; a ``str`` is to be printed unbroken."""
    yield Text(f"\nBy {heading(ranking)}:")
    yield _ranked(ranking)
    if ranking.left_out:
        yield _left_out(ranking)
    for wrong in ranking.order.mismatches[:3]:
        yield Text(f"No intervals, the items differ: {wrong}", style="bold red")
    for remark in remarks(ranking):
        yield Text(remark, style="dim")
    yield Text(f"\n{verdict(ranking)}")
    yield command(ranking.order.ranked[0].setting)


def show(ranking: Ranking) -> None:
    """Print it."""
    for part in tables(ranking):
        console().print(part, soft_wrap=isinstance(part, str), markup=False)


def heading(ranking: Ranking) -> str:
    """Return what is ranked by, in one line."""
    over = f"mean over {len(ranking.languages)} languages"
    if len(ranking.languages) == 1:
        over = f"in {ranking.languages[0]}"
    return f"{title_of(ranking.task, ranking.metric)}, {over}, {better(ranking.metric)} is better"


def verdict(ranking: Ranking) -> str:
    """Return how sure it is that the first setting is the best, in a sentence."""
    first, *others = ranking.order.ranked
    names = named(ranking, first)
    if not others:
        return f"One setting: {names}. To train it again:" if names else "To train it again:"
    close = sum(each.difference is None or not each.difference.verdict for each in others)
    if close == 0:
        sure = f"all others are worse, by more than {_luck(ranking)}"
    elif close == len(others):
        sure = "none of the others is told apart from it"
    else:
        verb = "is" if close == 1 else "are"
        sure = f"{close} of {len(others)} others {verb} not told apart from it"
    return f"Best: {names}; {sure}. To train it again:"


def _luck(ranking: Ranking) -> str:
    seeds = any(len(each.values) > 1 for each in ranking.order.ranked)
    return "luck" if seeds else "the choice of items"


def named(ranking: Ranking, ranked: Ranked) -> str:
    """Return a setting as ``key=value`` words."""
    pairs = zip(ranking.keys, ranked.setting.values, strict=True)
    return " ".join(f"{key}={value}" for key, value in pairs if value != NOTHING)


def runs_of(ranked: Ranked) -> str:
    """Return how many runs a value is of; of some that did not finish, ``2 of 3``."""
    done, failed = len(ranked.setting.runs), len(ranked.setting.failed)
    return f"{done} of {done + failed}" if failed else str(done)


def remarks(ranking: Ranking) -> Iterator[str]:
    """Yield what one should know to read the ranking."""
    ordered = ranking.order
    if len(ordered.mismatches) > 3:
        yield f"… and in {len(ordered.mismatches) - 3} more languages."
    if ranking.dropped:
        yield f"Not in all runs, and left out of the mean: {', '.join(ranking.dropped)}."
    if len(ranking.tokens) > 1 and "tokens" not in ranking.keys:
        yield "The runs were evaluated after different numbers of tokens."
    if len(ordered.ranked) < 2:
        yield "The runs differ by their seed alone: there is nothing to rank."
        return
    if ordered.coarse:
        yield "So many settings of one run each that none can be told apart: give seeds."
    elif all(len(each.values) == 1 for each in ordered.ranked) and not ordered.mismatches:
        yield (
            "One run of each setting: p and intervals tell these models apart. Whether the "
            "settings would do it again, only seeds say: add seed=1,2,3 to the sweep."
        )


def _ranked(ranking: Ranking) -> Table:
    table = _table("")
    table.add_column("", justify="right", no_wrap=True)
    apart = len(ranking.keys) <= COLUMNS
    for key in ranking.keys if apart else ("setting",):
        table.add_column(Text(key), overflow="fold", max_width=24 if apart else 38)
    several = any(each.stderr is not None for each in ranking.order.ranked)
    table.add_column("value ± s.e." if several else "value", justify="right", no_wrap=True)
    for name in ("runs", "to best", "95 % interval", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, each in enumerate(ranking.order.ranked[:LINES], 1):
        of = each.difference
        values = each.setting.values if apart else [named(ranking, each)]
        style = "bold" if place == 1 else "dim" if of is not None and of.verdict else ""
        table.add_row(
            str(place),
            *map(Text, values),
            with_error(each.value, each.stderr),
            runs_of(each),
            *(
                ("",) * 3
                if of is None
                else (signed(of.difference), interval(of), p_value(of.adjusted))
            ),
            style=style,
        )
    if (more := len(ranking.order.ranked) - LINES) > 0:
        table.add_row("…", Text(f"and {more} more"), style="dim")
    table.caption = f"p: corrected for having chosen the best of {len(ranking.order.ranked)}"
    table.caption_justify = "left"
    return table


def _left_out(ranking: Ranking) -> Table:
    table = _table(f"Not ranked: {len(ranking.left_out)}")
    table.add_column("run", overflow="fold", max_width=44)
    table.add_column("why", overflow="fold")
    for run in ranking.left_out[:LINES]:
        table.add_row(Text(run.name), Text(run.problem or NOTHING))
    if (more := len(ranking.left_out) - LINES) > 0:
        table.add_row("…", f"and {more} more", style="dim")
    return table


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title or None)
    table.title_justify = "left"
    return table
