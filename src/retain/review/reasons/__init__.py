"""Drivers in the reader's language: sentences are kept as they were scored, and said again here.

What `retain score` writes is English and is what verdicts are kept with. A sentence has one of a
few forms around a feature's label; both are looked up in the language's file, the numbers stay. A
sentence that is in no file, as that of a company's own feature, is shown as it was written.
"""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import Any

from retain.review.words import plural

__all__ = ["say_reason", "say_signal"]

_FOLDER = Path(__file__).parent
_OTHERS = "; similar customers: {usual}"
_WEEKS = re.compile(r"(?:(?P<n>\d+) weeks|week)")


@functools.cache
def reason_texts(language: str) -> dict[str, dict[str, str]]:
    """Read a language's file: sentence, value, weeks, label and signal; empty where there is none.

    Examples
    --------
    >>> reason_texts("ar")["signal"]["plan"], reason_texts("en")
    ('الباقة', {})
    """
    path = _FOLDER / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def say_signal(signal: str, language: str) -> str:
    """Say a signal's name in a language; as it is where it has no other name there.

    Examples
    --------
    >>> say_signal("plan", "ar"), say_signal("my own", "ar"), say_signal("plan", "en")
    ('الباقة', 'my own', 'plan')
    """
    return reason_texts(language).get("signal", {}).get(signal, signal)


@functools.lru_cache(maxsize=4096)
def say_reason(sentence: str, language: str) -> str:
    """Say a driver's sentence in a language; as it is where it cannot be said there.

    Parameters
    ----------
    sentence
        As `retain.explain.describe` wrote it.
    language
        As in `retain.review.words.LANGUAGES`.

    Examples
    --------
    >>> said = "Active days in the last 4 weeks fell from 14 to 5; similar customers: 13"
    >>> say_reason(said, "ar")
    'أيام النشاط في آخر 4 أسابيع: انخفض من 14 إلى 5؛ لدى العملاء المشابهين: 13'
    >>> say_reason("They bought a boat", "ar"), say_reason(said, "en") == said
    ('They bought a boat', True)
    """
    texts = reason_texts(language)
    if not texts:
        return sentence
    own, _, usual = sentence.partition(_OTHERS.format(usual=""))
    for form, pattern in _forms(language):
        found = pattern.fullmatch(own)
        if found is None:
            continue
        words = found.groupdict()
        if "label" in words:
            label = _label(words["label"], language)
            if label is None:
                continue
            words["label"] = label
        values = {name: _value(value, texts) for name, value in words.items()}
        said = texts["sentence"][form].format(**values)
        if usual:
            said += texts["sentence"][_OTHERS].format(usual=_value(usual, texts))
        return said
    return sentence


def _value(text: str, texts: dict[str, dict[str, str]]) -> str:
    return texts["value"].get(text, text)


@functools.cache
def _forms(language: str) -> list[tuple[str, Any]]:
    """Give the forms of a sentence as patterns, in their order."""
    forms = [form for form in reason_texts(language)["sentence"] if form != _OTHERS]
    return [(form, _pattern(form)) for form in forms]


@functools.cache
def _labels(language: str) -> list[tuple[str, Any]]:
    """Give the labels as patterns, the most particular first."""
    labels = reason_texts(language)["label"]
    return [(label, _pattern(label)) for label in sorted(labels, key=lambda one: ("{" in one, one))]


def _pattern(template: str) -> Any:
    escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>.+?)", escaped))


def _label(label: str, language: str) -> str | None:
    for template, pattern in _labels(language):
        found = pattern.fullmatch(label)
        if found is None:
            continue
        words = found.groupdict()
        if "weeks" in words:
            weeks = _weeks(words["weeks"], language)
            if weeks is None:
                continue
            words["weeks"] = weeks
        return reason_texts(language)["label"][template].format(**words)
    return None


def _weeks(text: str, language: str) -> str | None:
    """Say a number of weeks; None when the text is none."""
    found, texts = _WEEKS.fullmatch(text), reason_texts(language)["weeks"]
    if found is None:
        return None
    n = int(found["n"] or 1)
    form = texts.get(plural(language, n)) or texts["other"]
    return texts["week"] if found["n"] is None else form.format(n=n)
