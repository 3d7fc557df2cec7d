"""Every text of the page, in every language: one catalogue per language, looked up by key.

A catalogue is a TOML file in `texts`; English is the one that the others are compared with.
"""

from __future__ import annotations

import datetime
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.report.wording import NOTHING, number

__all__ = ["LANGUAGES", "Words", "catalogue", "plural", "preferred", "words"]

_FOLDER = Path(__file__).parent / "texts"
LANGUAGES: tuple[str, ...] = tuple(
    sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda n: (n != "en", n))
)
"""Languages that the page speaks, English first."""


def _plural_en(n: int) -> str:
    return "one" if n == 1 else "other"


def _plural_ar(n: int) -> str:
    if n in (0, 1, 2):
        return ("zero", "one", "two")[n]
    rest = n % 100
    return "few" if 3 <= rest <= 10 else "many" if 11 <= rest <= 99 else "other"


_PLURALS = {"en": _plural_en, "ar": _plural_ar}


def plural(language: str, n: int) -> str:
    """Name the form that a language has for a count.

    Examples
    --------
    >>> plural("en", 4), plural("ar", 4), plural("ar", 13)
    ('other', 'few', 'many')
    """
    return _PLURALS[language](n)


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """Read one language's texts, by dotted key.

    Examples
    --------
    >>> catalogue("en")["queue.title"]
    "This week's queue"
    """
    texts: dict[str, str] = {}

    def flatten(prefix: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                flatten(f"{prefix}{key}.", value)
            else:
                texts[prefix + key] = str(value)

    flatten("", tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8")))
    return texts


class Words:
    """One language's texts; calling it with a key gives the text.

    Examples
    --------
    >>> t = words("en")
    >>> t("page.of", page=2, pages=7)
    'Page 2 of 7'
    >>> t.n("count.customers", 1), t.n("count.customers", 1200)
    ('1 customer', '1,200 customers')
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)
        self.direction = self._texts["language.direction"]

    def __call__(self, key: str, **values: object) -> str:
        """Give a text with its values put in."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        """Tell whether there is such a text."""
        return key in self._texts

    def of(self, prefix: str, name: object) -> str:
        """Give the text of a word that comes from the data; the word itself when we have none."""
        return self._texts.get(f"{prefix}.{name}", str(name))

    def n(self, key: str, count: float, **values: object) -> str:
        """Give the text for a count, in the form that this language has for it."""
        form = plural(self.language, int(count))
        text = self._texts.get(f"{key}.{form}") or self._texts[f"{key}.other"]
        return text.format(n=number(count), **values)

    def day(self, day: datetime.date | datetime.datetime | str | None, year: bool = True) -> str:
        """Print a day; text is read as an ISO date."""
        if isinstance(day, str):
            try:
                day = datetime.date.fromisoformat(day[:10])
            except ValueError:
                return NOTHING
        if day is None:
            return NOTHING
        key = "date.day" if year else "date.short"
        return self(key, day=day.day, month=self(f"month.{day.month}"), year=day.year)

    def moment(self, at: datetime.datetime | None) -> str:
        """Print an instant to the minute, with its zone."""
        if at is None:
            return NOTHING
        return self("date.moment", day=self.day(at), time=f"{at:%H:%M}", zone=at.tzname() or "UTC")


@functools.cache
def words(language: str) -> Words:
    """Give the texts of a language; English for one that we do not speak."""
    return Words(language if language in LANGUAGES else "en")


def preferred(chosen: str, accepted: str) -> str:
    """Choose the language: the reader's own choice, else the browser's first that we speak.

    Examples
    --------
    >>> preferred("", "fr-CH, ar;q=0.9, en;q=0.8"), preferred("en", "ar"), preferred("", "")
    ('ar', 'en', 'en')
    """
    if chosen in LANGUAGES:
        return chosen
    for part in accepted.split(","):
        language = part.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return language
    return "en"
