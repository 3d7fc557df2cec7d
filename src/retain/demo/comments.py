"""What simulated customers write beside a score: a few plain sentences per mood and language."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from retain.demo.population import LANGUAGES, Floats, Ints

__all__ = ["COMMENTS", "MATTERS", "write_comments"]

MATTERS = ("price", "bugs", "effort", "praise", "neutral")

COMMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "price": (
            "Too expensive for what we use.",
            "The price went up again and nobody explained why.",
            "Your competitor offers the same for less 💸",
            "Hard to justify the cost to my boss.",
        ),
        "bugs": (
            "The export crashes every week.",
            "Slow pages and errors since the last update 🐛",
            "We hardly log in any more, it does not do what we need.",
            "Reports are often wrong.",
        ),
        "effort": (
            "I had to contact support four times for the same problem.",
            "Passed from one colleague to the next, still not solved 😡",
            "It took a week to get an answer.",
            "I had to explain everything again on the phone.",
        ),
        "praise": (
            "Great product, the team loves it ❤️",
            "Fast and friendly help, thank you!",
            "Saves us hours every week 👍",
            "Easy to use.",
        ),
        "neutral": ("It is ok.", "Does the job.", "Nothing to add.", "n/a"),
    },
    "it": {
        "price": (
            "Troppo caro per quello che usiamo.",
            "Il prezzo è aumentato di nuovo senza spiegazioni.",
            "Un concorrente offre lo stesso a meno 💸",
        ),
        "bugs": (
            "L'esportazione si blocca ogni settimana.",
            "Lento e pieno di errori dopo l'aggiornamento 🐛",
            "Ormai lo usiamo poco, manca quello che serve.",
        ),
        "effort": (
            "Ho dovuto contattare l'assistenza quattro volte per lo stesso problema.",
            "Rimbalzato da un collega all'altro, ancora non risolto 😡",
            "Una settimana per avere una risposta.",
        ),
        "praise": (
            "Ottimo prodotto, il team è entusiasta ❤️",
            "Assistenza veloce e gentile, grazie!",
            "Ci fa risparmiare ore ogni settimana 👍",
        ),
        "neutral": ("Va bene.", "Fa il suo lavoro.", "Niente da aggiungere."),
    },
    "de": {
        "price": (
            "Zu teuer für das, was wir nutzen.",
            "Schon wieder eine Preiserhöhung ohne Begründung.",
            "Bei der Konkurrenz kostet es weniger 💸",
        ),
        "bugs": (
            "Der Export stürzt jede Woche ab.",
            "Langsam und fehlerhaft seit dem letzten Update 🐛",
            "Wir nutzen es kaum noch, wichtige Funktionen fehlen.",
        ),
        "effort": (
            "Viermal beim Support wegen desselben Problems angerufen.",
            "Von einem zum anderen weitergereicht, immer noch ungelöst 😡",
            "Eine Woche auf eine Antwort gewartet.",
        ),
        "praise": (
            "Tolles Produkt, das Team ist begeistert ❤️",
            "Schnelle und freundliche Hilfe, danke!",
            "Spart uns jede Woche Stunden 👍",
        ),
        "neutral": ("Ganz ok.", "Tut, was es soll.", "Nichts hinzuzufügen."),
    },
}


def write_comments(
    language: Ints, pains: Floats, mood: Floats, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Return one sentence per answer.

    Parameters
    ----------
    language
        Position in LANGUAGES, shape (answers,).
    pains
        How much price, bugs and effort weigh, in log-odds; shape (3, answers).
    mood
        Satisfaction, mean 0; shape (answers,).
    rng
        Source of chance.
    """
    pains = pains + rng.gumbel(0.0, 0.35, pains.shape)
    matter = np.where(
        pains.max(axis=0) > 0.8,
        pains.argmax(axis=0),
        np.where(
            mood + rng.normal(0, 0.4, len(mood)) > 0.4,
            3,
            np.where(mood < -0.8, rng.integers(0, 3, len(mood)), 4),
        ),
    )
    written = np.empty(len(mood), dtype=object)
    for spoken, words in enumerate(LANGUAGES):
        for about, name in enumerate(MATTERS):
            mask = (language == spoken) & (matter == about)
            said = np.asarray(COMMENTS[words][name], dtype=object)
            written[mask] = said[rng.integers(0, len(said), int(mask.sum()))]
    return written
