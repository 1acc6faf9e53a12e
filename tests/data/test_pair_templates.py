"""Templates, the names of languages in them, and the hash that draws both."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data.language_names import language_name, native_drawn
from marco.data.pair_hash import texts_id, uniform
from marco.data.templates import Template, all_templates, chosen_templates
from marco.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_there_are_eleven_and_each_has_everything_in_its_place() -> None:
    assert len(all_templates()) == len({template.pieces for template in all_templates()}) == 11
    for template in all_templates():
        places = list(template.pieces[1::2])
        assert {"source", "target", "source_language", "target_language"} == set(places)
        assert places.count("source") == places.count("target") == 1
        assert places.index("source") < places.index("target"), template.name
        assert not any(mark in piece for piece in template.pieces[::2] for mark in "{}")


def test_the_kinds_of_shapes_are_those_of_the_paper() -> None:
    lines = [template.render("A", "B", "a", "b").count("\n") + 1 for template in all_templates()]
    assert lines == [2, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1]


@given(st.sampled_from(all_templates()), TEXT, TEXT)
def test_texts_are_rendered_verbatim(template: Template, source: str, target: str) -> None:
    frame = template.render("English", "Swahili", "\0", "\1")
    assert template.render("English", "Swahili", source, target) == "".join(
        source if letter == "\0" else target if letter == "\1" else letter for letter in frame
    )


def test_what_looks_like_a_placeholder_is_text() -> None:
    template = chosen_templates(["labelled_text"], "k")[0]
    rendered = template.render("English", "Swahili", "{target} {0} %s \\1", "{source}")
    assert rendered == "English text: {target} {0} %s \\1\nSwahili text: {source}"


def test_chosen_templates_keep_the_table_s_order() -> None:
    names = [template.name for template in all_templates()]
    chosen = chosen_templates(list(reversed(names)), "k")
    assert chosen == chosen_templates(None, "k") == all_templates()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["labeled_text"], r"data.templates: .*'labeled_text'. Did you mean 'labelled_text'"),
        ([], r"data.templates=\[\]"),
        (["change_phrase", "change_phrase"], "each once"),
    ],
)
def test_wrong_templates(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen_templates(names, "data.templates")


def test_names_of_languages() -> None:
    assert (language_name("swh", native=False), language_name("swh", native=True)) == (
        "Swahili",
        "Kiswahili",
    )
    assert language_name("ada", native=True) == "Dangme"  # CLDR has no Dangme
    drawn = [native_drawn("both", number / 10) for number in range(10)]
    assert drawn == [True] * 5 + [False] * 5
    assert {native_drawn("native", 0.9), not native_drawn("english", 0.1)} == {True}


def test_the_hash_is_the_same_on_every_machine() -> None:
    program = (
        "from marco.data.pair_hash import texts_id, uniform;"
        "print(texts_id({'swh': 'Habari', 'eng': 'News'}).hex(), uniform(7, b'x', 'template'))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("0", "1", "2")
    }
    here = f"{texts_id({'eng': 'News', 'swh': 'Habari'}).hex()} {uniform(7, b'x', 'template')}\n"
    # Computed once: another value would tokenise and mix every parallel corpus anew.
    assert outputs == {here}
    assert here == "d350ac016305b5cbd31bcf78 0.48551041544942375\n"


@given(st.dictionaries(st.sampled_from(["eng", "swh", "yor"]), TEXT, min_size=1))
def test_ids_tell_texts_apart(texts: dict[str, str]) -> None:
    assert texts_id(texts) == texts_id(dict(reversed(texts.items())))
    for code in texts:
        assert texts_id({**texts, code: texts[code] + "x"}) != texts_id(texts)
    assert texts_id({"eng": "a", "swh": "b"}) != texts_id({"eng": "b", "swh": "a"})
    assert texts_id({"eng": "a:swh:1:b"}) != texts_id({"eng": "a", "swh": "b"})


def test_seed_and_purpose_change_the_number() -> None:
    drawn = {uniform(seed, b"pair", purpose) for seed in range(9) for purpose in "abc"}
    assert len(drawn) == 27
    assert all(0 <= number < 1 for number in drawn)
