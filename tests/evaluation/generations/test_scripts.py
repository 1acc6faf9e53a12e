from __future__ import annotations

from marco.evaluation.generations.scripts import expected_scripts, letters
from marco.languages import all_languages, get

SERBIAN = "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心"


def test_letters_are_counted_by_script() -> None:
    assert letters("Wa-tu 12, мир! 平等 ไทย ひらカタ") == {
        "Latn": 4,
        "Cyrl": 3,
        "Hani": 2,
        "Thai": 3,
        "Hira": 2,
        "Kana": 2,
    }
    assert letters("हिन्दी")["Deva"] == 3  # marks are no letters
    assert letters("𐤀𐤁") == {"Zyyy": 2}  # Phoenician: no language of the registry
    assert letters("… 123 🕊") == {}


def test_every_declaration_is_in_the_registrys_script(
    declarations: dict[str, dict[int, str]],
) -> None:
    for code, articles in declarations.items():
        found = letters("\n".join(articles.values()))
        expected = expected_scripts(code, None, 20)
        share = sum(found[name] for name in expected) / found.total()
        assert share > 0.99, (code, expected, found)


def test_every_script_of_the_registry_is_one_of_unicodes() -> None:
    for language in all_languages():
        assert expected_scripts(language.code, None, 20)
    assert expected_scripts("jpn", None, 20) == ("Hani", "Hira", "Kana")
    assert expected_scripts("cmn", None, 20) == ("Hani",)


def test_the_references_script_counts() -> None:
    assert get("srp").script == "Cyrl"
    assert expected_scripts("srp", SERBIAN, 20) == ("Latn",)
    assert expected_scripts("srp", SERBIAN[:10], 20) == ("Cyrl",)  # too short to tell
    assert expected_scripts("jpn", CHINESE, 20) == ("Hani", "Hira", "Kana")
    assert expected_scripts("swh", SERBIAN, 20) == ("Latn",)
