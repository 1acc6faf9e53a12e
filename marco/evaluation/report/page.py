"""The page: everything in one file, which opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from marco.evaluation.page_parts import data, document
from marco.evaluation.report.curves import curves
from marco.evaluation.report.headline import first_evaluation, headline
from marco.evaluation.report.measures import measures
from marco.evaluation.report.read import RunFolder, read_run
from marco.evaluation.report.results import heat_map, outcomes, retention
from marco.evaluation.report.samples import sampled
from marco.evaluation.report.setup import config, reproduce, warned
from marco.evaluation.report.training import contamination, ledger
from marco.evaluation.report.translation import translations
from marco.evaluation.results.files import replace_file

FILE_NAME = "report.html"
#: Languages that a run should not get worse in.
ANCHORS = ("eng", "cmn")


def write_report(folder: Path, anchors: Sequence[str] = ANCHORS) -> Path:
    """Write ``report.html`` into a run's folder, whole or not at all, and return its path.

    Args:
        folder: of the run; nothing else is read.
        anchors: languages, canonical codes, whose retention is shown.

    Raises:
        DataError: it is no run's folder, or one of its files is damaged.
        OSError: it cannot be written.
    """
    text = page(read_run(folder), anchors)
    path = folder / FILE_NAME
    replace_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return path


def page(run: RunFolder, anchors: Sequence[str] = ANCHORS) -> str:
    """Return the page."""
    found = measures(run.history)
    sections = {
        "Results": outcomes(found, first_evaluation(run)),
        "Curves": _CURVES,
        "Languages": heat_map(found),
        "Translation": "".join(translations(run.history)),
        "Retention": retention(found, anchors),
        "Samples": sampled(run.samples),
        "Training": '<div id="charts"></div>',
        "Ledger": ledger(run.summary),
        "Contamination": contamination(run.history),
        "Warnings": warned(run),
        "Reproduce": reproduce(run),
        "Config": config(run),
    }
    shown = {title: html for title, html in sections.items() if html}
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in shown)
    body = "".join(
        f'<section id="{title.lower()}"><h2>{title}</h2>{html}</section>'
        for title, html in shown.items()
    )
    blob = data("numbers", curves(found, run.metrics))
    scripts = f"<script>{_library()}</script>{blob}<script>{_own('report.js')}</script>"
    top = headline(run, found)
    style = _asset("uplot.min.css") + _own("report.css")
    return document(run.name, style, f"{top}<nav>{links}</nav>{body}{scripts}")


_CURVES = (
    '<div class="controls"><label>Metric <select id="metric"></select></label>'
    '<label>Language <select id="language"></select></label><span id="groups"></span></div>'
    '<div id="curve"></div><noscript><p>The curves need JavaScript.</p></noscript>'
)


@lru_cache(maxsize=1)
def _library() -> str:
    """uPlot with its licence, which goes with every copy."""
    return f"/*\n{_asset('uplot.LICENSE.txt')}*/\n{_asset('uplot.min.js')}"


def _asset(name: str) -> str:
    return files("marco").joinpath("assets", name).read_text(encoding="utf-8")


def _own(name: str) -> str:
    return files("marco.evaluation.report").joinpath(name).read_text(encoding="utf-8")
