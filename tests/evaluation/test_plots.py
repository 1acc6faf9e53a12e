from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.evaluation.history import Evaluation
from marco.evaluation.loss_plot import _labelled, _panels, spread
from marco.evaluation.plot_style import log_ticks, ordered
from marco.evaluation.plots import training_series, write_plots
from marco.evaluation.rows import Row
from marco.languages import MARCO_LANGUAGES, all_languages, get


def history(languages: list[str], evaluations: int) -> list[Evaluation]:
    return [
        Evaluation(
            index,
            index * 1000,
            tuple(
                Row("likelihood", code, get(code).group, "bits_per_byte", 8 / (1 + index), 5)
                for code in languages
            ),
        )
        for index in range(evaluations)
    ]


def write_metrics(folder: Path, steps: int = 40) -> None:
    lines = [
        json.dumps({"step": s, "tokens": s * 10, "train/loss": 1.0, "train/loss/swh": 9.0 - s / 5})
        for s in range(steps)
    ]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 41, "tok']))


def test_sources_that_are_no_language_are_drawn_last(tmp_path: Path) -> None:
    line = {"step": 1, "tokens": 10}
    line |= {f"train/loss/{name}": 2.0 for name in ("eng_books", "swh", "parallel", "eng")}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line))
    assert write_plots(tmp_path, []) == [tmp_path / "plots" / "loss_per_language.png"]
    series = {name: [(10.0, 2.0)] for name in ("parallel", "eng_books", "swh", "eng")}
    assert _panels(series) == [
        ("English, Low-resource, Other sources", ["eng", "swh", "eng_books", "parallel"])
    ]


def size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize("languages", [["swh"], list(MARCO_LANGUAGES[:12])], ids=["one", "twelve"])
def test_every_plot_is_written(tmp_path: Path, languages: list[str]) -> None:
    write_metrics(tmp_path)
    written = write_plots(tmp_path, history(languages, 3))
    assert [path.stem for path in written] == [
        "loss_per_language",
        "training_loss_per_language",
        "heatmap",
    ]
    assert all(size(path)[0] > 500 for path in written)
    assert {path.name for path in written} == {p.name for p in (tmp_path / "plots").iterdir()}


def test_many_languages_and_one_evaluation_fit(tmp_path: Path) -> None:
    codes = [language.code for language in all_languages()][:200]
    (path,) = write_plots(tmp_path, history(codes, 1))
    assert path.stem == "heatmap"
    assert max(size(path)) < 6000


def test_each_task_has_a_panel_by_its_first_metric(tmp_path: Path) -> None:
    def width(*tasks: tuple[str, str]) -> int:
        rows = tuple(Row(task, "swh", "low", metric, 0.5, 9) for task, metric in tasks)
        (path,) = write_plots(tmp_path, [Evaluation(0, 0, rows)])
        return size(path)[0]

    one = width(("xnli", "acc"))
    assert width(("xnli", "acc"), ("xnli", "f1")) == one
    assert width(("xnli", "acc"), ("xcopa", "acc")) > one
    many = [(f"task {number}", "acc") for number in range(20)]
    assert width(*many) == width(*many[:6])


def test_without_evaluations_the_training_loss_is_the_loss(tmp_path: Path) -> None:
    assert write_plots(tmp_path, []) == []
    write_metrics(tmp_path)
    assert [path.stem for path in write_plots(tmp_path, [])] == ["loss_per_language"]


def test_the_training_loss_is_averaged_over_stretches(tmp_path: Path) -> None:
    write_metrics(tmp_path, steps=40)
    series = training_series(tmp_path, points=10)
    assert list(series) == ["swh"]
    assert len(series["swh"]) == 10
    assert series["swh"][0] == pytest.approx((15, 8.7))


@pytest.mark.parametrize("count", [1, 10, 11, 29, 100, 400])
def test_no_panel_is_crowded_unless_there_are_too_many(count: int) -> None:
    codes = [language.code for language in all_languages()][:count]
    series = {code: [(0.0, float(index))] for index, code in enumerate(codes)}
    panels = _panels(series)
    assert sorted(code for _, members in panels for code in members) == sorted(codes)
    assert len(panels) <= 12
    if count <= 100:
        assert all(len(members) <= 10 for _, members in panels)
    assert all(len(_labelled({c: series[c] for c in members})) <= 10 for _, members in panels)


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=10).map(sorted),
    st.floats(0.01, 1),
)
def test_labels_are_apart_in_order_and_inside(values: list[float], gap: float) -> None:
    places = spread(values, gap, 0, 10)
    assert len(places) == len(values)
    assert all(b - a >= gap * (1 - 1e-6) for a, b in pairwise(places))
    assert places[0] >= -1e-9
    assert places[-1] <= 10 + 1e-9
    far_apart = all(b - a >= gap for a, b in pairwise(values))
    if far_apart:
        assert places == pytest.approx(values)


@given(st.floats(0.01, 100), st.floats(1.001, 1000))
def test_ticks_are_inside_and_few(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert 1 <= len(ticks) <= 12


def test_a_source_that_is_no_language_has_its_line(tmp_path: Path) -> None:
    records = [
        {"tokens": 100 * n, "train/loss/parallel": 5 - 0.1 * n, "train/loss/swh": 4 - 0.1 * n}
        for n in range(9)
    ]
    text = "\n".join(map(json.dumps, records))
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert [path.stem for path in write_plots(tmp_path, [])] == ["loss_per_language"]
    assert ordered(["parallel", "tha", "eng"]) == ["eng", "tha", "parallel"]
