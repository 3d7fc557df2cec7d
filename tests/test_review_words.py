"""The texts of the review page: complete in every language, used, and nowhere written in markup."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from report_week import HOSTILE

from retain.explain import describe
from retain.features import FEATURES, Column
from retain.jobs.staying import Staying
from retain.review import words
from retain.review.reasons import reason_texts, say_reason
from retain.review.words import LANGUAGES, catalogue

ROOM = Path(words.__file__).parent
TEMPLATES = sorted((ROOM / "templates").glob("*.html"))
FORMS = ("zero", "one", "two", "few", "many", "other")
# words that are the same everywhere: file forms, commands, marks
SAME = {"CSV", "Excel", "retain", "score", "CONFIG", "metrics", "html", "doctype", "/"}


def stems(language):
    """Keys without their form for a count."""
    return {re.sub(rf"\.({'|'.join(FORMS)})$", "", key) for key in catalogue(language)}


def blanks(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def written_in_markup(markup):
    """Words that a reader would see and no catalogue holds."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", markup, flags=re.DOTALL)
    text = re.sub(r"<(style|script|code)\b.*?</\1>", " ", text, flags=re.DOTALL)
    shown = re.findall(r'(?:aria-label|placeholder|title|alt)="([^"]*)"', text)
    text = re.sub(r"<[^>]*>", " ", text)
    found = re.findall(r"[A-Za-z]{2,}", re.sub(r"&\w+;", " ", " ".join([text, *shown])))
    return [word for word in found if word not in SAME]


def asked_for(text):
    """Keys that a template or module asks for, whole ones and beginnings of composed ones."""
    whole = set(re.findall(r"""\bt(?:\.n)?\(\s*f?["']([\w.]+)["']\s*[,)]""", text))
    begun = set(re.findall(r"""\bt(?:\.n|\.has)?\(\s*["']([\w.]+[._])["']\s*~""", text))
    begun |= set(re.findall(r"""\bt(?:\.has)?\(\s*f["']([\w.]+[._])\{""", text))
    begun |= {f"{name}." for name in re.findall(r"""\bt\.of\(\s*["']([\w.]+)["']""", text)}
    return whole, begun


SOURCES = [*TEMPLATES, *ROOM.rglob("*.py")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_texts_that_english_has_and_no_others(language):
    assert stems("en") == stems(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_has_the_blanks_of_the_english_one_filled_in(language):
    english = catalogue("en")
    for key, text in catalogue(language).items():
        whole = english.get(key) or english[re.sub(r"\.\w+$", ".other", key)]
        spare = {"n"} if key.rsplit(".", 1)[-1] in ("one", "two") else set()
        assert blanks(whole) - spare <= blanks(text) | spare, key
        assert blanks(text) <= blanks(whole), key


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_nothing_is_left_in_english(language):
    english, latin = catalogue("en"), re.compile(r"[A-Za-z]{3,}")
    allowed = {"NPS", "CSAT", "CES", "retain", "metrics", "CONFIG"}
    for key, text in catalogue(language).items():
        if key == "language.direction":
            continue
        said = set(latin.findall(re.sub(r"\{\w+\}", "", text)))
        assert said <= allowed, key
        if latin.search(re.sub(r"\{\w+\}", "", english.get(key, ""))):
            assert text != english.get(key), key


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_text_of_its_own(path):
    assert written_in_markup(path.read_text(encoding="utf-8")) == []


def test_every_text_that_is_asked_for_is_there_and_every_text_is_asked_for():
    keys, used = stems("en"), set()
    for path in SOURCES:
        whole, begun = asked_for(path.read_text(encoding="utf-8"))
        missing = {key for key in whole if key not in keys} - {"count.customers"}
        assert missing == set(), path.name
        used |= whole | {key for key in keys for start in begun if key.startswith(start)}
    named = " ".join(path.read_text(encoding="utf-8") for path in SOURCES)
    unused = {key for key in keys - used if f'"{key}"' not in named}
    families = (
        "language.",
        "date.",
        "month.",
        "refused.",
        "chart.",
        "sum.",
        "metrics.theme",
        "placed.",
        "unit.",
    )
    assert {key for key in unused if not key.startswith(families)} == set()


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<p>Hello {{ name }}</p>", ["Hello"]),
        ('<a aria-label="Close it">x</a>', ["Close", "it"]),
        ('<p class="lead">{{ t("a.b") }}</p>', []),
    ],
)
def test_a_text_left_in_markup_is_found(markup, found):
    assert found == written_in_markup(markup)


FOREIGN = [name for name in LANGUAGES if name != "en"]


@pytest.mark.parametrize("language", FOREIGN)
def test_every_label_and_signal_of_a_feature_is_said_in_every_language(language):
    """Seen to fail with one label changed in its feature alone."""
    texts = reason_texts(language)

    expected = Staying.column(52)  # the one that value is learnt with, besides
    labels = {one.label for one in FEATURES} | {expected.label.replace("52", "{n}")}
    assert labels == set(texts["label"])
    assert {one.signal for one in (*FEATURES, expected.feature)} == set(texts["signal"])
    for part in texts.values():
        for english, text in part.items():
            spare = {"n"} if english in ("few", "many", "other") else set()
            assert blanks(english) | spare == blanks(text), english


@pytest.mark.parametrize("language", FOREIGN)
@pytest.mark.parametrize(
    ("value", "earlier", "peer"),
    [(5.0, 14.0, 13.0), (14.0, 5.0, 13.0), (5.0, 5.0, None), (5.0, None, 1.0), (None, None, 2.0)],
)
def test_every_form_of_a_sentence_is_said_in_every_language(language, value, earlier, peer):
    """The numbers stay; nothing stays in English but names."""
    numbers = re.compile(r"\d[\d,.]*")
    for feature in FEATURES:
        label = feature.label.format(weeks="13 weeks", item="reports", ITEM="NPS")
        column = Column(feature.name, feature, None, label)
        sentence = describe(column, value, earlier, peer, "EUR")
        said = say_reason(sentence, language)

        english = set(re.findall(r"[A-Za-z]{3,}", said)) - {"EUR", "NPS", "reports"}
        assert set() == english, sentence
        assert sorted(numbers.findall(sentence)) == sorted(numbers.findall(said)), sentence


def test_a_sentence_of_a_companys_own_feature_stays_as_it_is():
    assert "Boats: 3" == say_reason("Boats: 3", "ar")
    assert HOSTILE == say_reason(HOSTILE, "ar")


def test_arabic_counts_as_arabic_does():
    t = words.words("ar")

    said = [t.n("count.customers", n) for n in (1, 2, 3, 11, 100, 103)]
    assert ["عميل واحد", "عميلان", "3 عملاء", "11 عميلًا", "100 عميل", "103 عملاء"] == said
    assert "rtl" == t.direction
