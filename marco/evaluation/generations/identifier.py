"""Which language a line is in, by py3langid, and how far that can be believed for each language.

An identifier errs on real text, most of all between close relatives, and that must not be called
a model's confusion. So before a language is judged, the lines of its Universal Declaration are
identified, and an answer that at least one line in twenty gets counts as right. Of the 121
languages that py3langid 0.4.0 knows and that have a declaration, five are judged more mildly for
it: Indonesian may be called Malay; Bosnian, Croatian or Serbian; Croatian, Bosnian; Cantonese,
Mandarin; Nynorsk, Bokmål. What is then still called wrong, of lines of 20 letters or more
(``python -m bench.real_text`` prints it for each language):

- 0.24 % of 6,964 lines, and none at all in 108 languages
- Wu 4.3 %; Hindi, Malay, Serbian 3.4 %; Acehnese, Czech, Danish, Bokmål, Southern Sotho, Spanish,
  Walloon, Xhosa, Zulu: one line each, 1.7 %

That is legal text in good order. Generations are less tidy, and one of several lines is wrong if
any of them is, so some per cent are no confusion yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from marco.data.udhr import read_declarations
from marco.errors import ConfigError
from marco.evaluation.generations.scripts import letters
from marco.languages import all_languages, get

#: A line of fewer letters isn't judged. Real lines cut after 15 characters are called wrong in 17 %
#: of cases, after 30 in 4.5 %, after 60 in 0.8 % (``python -m bench.real_text``).
LEAST_LETTERS = 20

#: An answer that this share of real lines gets is one that the identifier can't tell apart.
CONFUSABLE = 0.05


@dataclass(frozen=True, slots=True)
class Control:
    """What the identifier makes of real text of one language.

    ``accepted``: the answers that count as right; ``lines``: how many lines were identified;
    ``wrong``: the share of them that gets another answer: the rate of false alarms.
    """

    accepted: frozenset[str]
    lines: int
    wrong: float


class Identifier:
    """py3langid with its error rate for the languages that are to be judged."""

    def __init__(self, languages: Iterable[str]) -> None:
        """Identify the real text of ``languages`` (canonical codes), 60 lines each."""
        wanted = list(dict.fromkeys(languages))
        labelled = set(_labels().values())
        codes = [code for code in wanted if code in labelled and get(code).udhr is not None]
        self.controls: Mapping[str, Control] = {
            code: _control(code, "\n".join(articles.values()))
            for code, articles in (read_declarations(codes) if codes else {}).items()
        }
        self._reasons = {
            code: "no real text to try the identifier on"
            if code in labelled
            else "not a language of the identifier"
            for code in wanted
            if code not in self.controls
        }

    def reason(self, language: str) -> str | None:
        """Return why a language can't be judged; None if it can.

        Raises:
            KeyError: a language that this identifier wasn't made for.
        """
        return None if language in self.controls else self._reasons[language]

    def wrong(self, text: str, language: str) -> bool | None:
        """Return whether any line of a text is in another language than ``language``.

        Judging line by line, and the whole by its worst line, is the line-level pass rate of the
        Language Confusion Benchmark (Marchisio et al., EMNLP 2024, arXiv 2406.20052), whose lines
        have at least five words. None if the language can't be judged, or no line is long enough.
        """
        control = self.controls.get(language)
        found = identify(text)
        if control is None or not found:
            return None
        return not control.accepted.issuperset(found)


def identify(text: str, least: int = LEAST_LETTERS) -> list[str]:
    """Return the language of each line of at least ``least`` letters.

    It is a canonical code, or py3langid's own where the registry has no such language.
    """
    lines = [line for line in text.splitlines() if letters(line).total() >= least]
    return [_labels()[_model().classify(line)[0]] for line in lines]


def _control(code: str, text: str) -> Control:
    answers = Counter(identify(text))
    lines = answers.total()
    often = {answer for answer, count in answers.items() if count >= CONFUSABLE * lines}
    accepted = frozenset({code, *often})
    wrong = sum(count for answer, count in answers.items() if answer not in accepted)
    return Control(accepted, lines, wrong / lines)


@lru_cache(maxsize=1)
def _model() -> LanguageIdentifier:
    # One of our own: py3langid's shared one may have been restricted to some languages.
    return LanguageIdentifier.from_model_file(MODEL_FILE)


@lru_cache(maxsize=1)
def _labels() -> dict[str, str]:
    """py3langid's label → the registry's code, where there is one."""
    two_letters = {row.iso639_1: row.code for row in all_languages() if row.iso639_1}
    found = {}
    for label in _model().labels:
        try:
            found[label] = two_letters.get(label) or get(label).code
        except ConfigError:
            found[label] = label
    return found
