"""What a figure about effort says of itself: its kind, interval, assumptions, and its doubt."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

__all__ = ["LITERATURE", "EffortLine", "EffortValue", "HiddenCause"]

WIDTH = 96
Kind = Literal["observed", "adjusted", "literature"]
STATUS = {
    "observed": "association",
    "adjusted": "estimate",
    "literature": "published, not about this company",
}


@dataclass(frozen=True)
class HiddenCause:
    """How strong something that no table shows would have to be to explain an estimate away.

    Parameters
    ----------
    to_zero
        Share of what remains unexplained, both in effort and in the outcome, that it would have to
        explain to bring the estimate to zero; in [0, 1], higher is sturdier.
    to_doubt
        The same to bring zero into the interval; 0 when it is there already.
    known
        The strongest signal among those that are known; empty where the interval holds zero and
        no comparison is needed.
    known_effort, known_outcome
        Shares that a hidden cause as strong as this signal would explain, at most 1.
    """

    to_zero: float
    to_doubt: float
    known: str
    known_effort: float
    known_outcome: float

    @property
    def is_weaker_than_known(self) -> bool:
        """Whether a hidden cause as strong as the strongest known one could explain all of it."""
        needed = _strength(self.to_zero, self.to_zero)
        return needed <= _strength(self.known_outcome, self.known_effort)

    def sentence(self) -> str:
        """Say it to somebody who has to decide whether to believe the estimate.

        Examples
        --------
        >>> HiddenCause(0.05, 0.0, "", 0.0, 0.0).sentence()
        'Its interval holds zero: no hidden cause is needed to doubt it.'
        >>> HiddenCause(0.05, 0.03, "logins", 0.01, 0.02).is_weaker_than_known
        False
        """
        if self.to_doubt == 0.0:
            return "Its interval holds zero: no hidden cause is needed to doubt it."
        told = (
            f"A hidden cause that explains {_percent(self.to_zero)} of what remains unexplained in "
            "effort and as much in the outcome would explain this estimate away; "
            f"{_percent(self.to_doubt)} would bring zero into its interval."
        )
        if not self.known:
            return told
        if max(self.known_effort, self.known_outcome) >= 1.0:
            return (
                f"{told} The strongest that is known ({self.known}) explains more than all that is "
                "unknown together."
            )
        enough = "enough" if self.is_weaker_than_known else "not enough"
        return (
            f"{told} One as strong as the strongest that is known ({self.known}) would explain "
            f"{_percent(self.known_effort)} of effort and {_percent(self.known_outcome)} of the "
            f"outcome: {enough} to explain it away."
        )


@dataclass(frozen=True)
class EffortLine:
    """One figure.

    Parameters
    ----------
    name
        The same in every run: for programs.
    label
        What it is, in words.
    kind
        ``observed`` (a difference as found), ``adjusted`` (compared among customers who were alike
        as far as is known) or ``literature`` (somebody else's, never calculated with).
    value, low, high
        The figure and its interval; None where it is not defined.
    unit
        Unit of all three.
    level
        Level of the interval, in (0, 1).
    n, customers
        How much it rests on.
    n_of
        What `n` counts: quarters of customers (13 weeks of one customer), or cases.
    assumptions
        What has to be true for it to mean what its label says.
    hidden
        For adjusted figures: the doubt that a hidden cause leaves.
    undefined_because
        Why there is no value; empty where there is one.
    """

    name: str
    label: str
    kind: Kind
    value: float | None
    low: float | None
    high: float | None
    unit: str
    level: float = 0.95
    n: int = 0
    customers: int = 0
    n_of: str = "quarters"
    assumptions: tuple[str, ...] = ()
    hidden: HiddenCause | None = None
    undefined_because: str = ""

    def __post_init__(self) -> None:
        assert (self.value is None) == bool(self.undefined_because), self.name

    @property
    def status(self) -> str:
        """What kind of claim it is: an association or an estimate, never a cause."""
        return STATUS[self.kind]

    def figures(self) -> str:
        """Write value, interval and unit.

        Examples
        --------
        >>> EffortLine("x", "X", "observed", 3.14159, 1.0, 5.5, "EUR").figures()
        '3.14 EUR (95 %: 1.00 to 5.50)'
        """
        if self.value is None:
            return f"not known: {self.undefined_because}"
        if self.low is None or self.high is None:
            return f"{self.value:,g} {self.unit}"
        three = (self.value, self.low, self.high)
        digits = 0 if max(map(abs, three)) >= 1000 else 2
        value, low, high = (f"{number:,.{digits}f}" for number in three)
        return f"{value} {self.unit} ({self.level * 100:g} %: {low} to {high})"


@dataclass(frozen=True)
class EffortValue:
    """What effort costs a company, as far as its own data can say.

    Parameters
    ----------
    lines
        The figures, in the order in which they should be read.
    definitions
        What the words mean here: high effort, a point, the weeks compared.
    not_computed
        What could not be computed, each with its reason.
    """

    lines: tuple[EffortLine, ...]
    definitions: tuple[str, ...] = ()
    not_computed: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> EffortLine:
        """Return a line by name and kind, as in ``value["churn.adjusted"]``."""
        for line in self.lines:
            if f"{line.name}.{line.kind}" == name:
                return line
        raise KeyError(name)

    def text(self) -> str:
        """Write everything down for a reader who doubts it."""
        out = [_wrapped(text, "* ", "  ") for text in self.definitions]
        told: list[str] = []
        for number, line in enumerate(self.lines):
            if number == 0 or self.lines[number - 1].label != line.label:
                out += ["", line.label]
            for text in line.assumptions:
                if text not in told:
                    told.append(text)
            marks = "".join(f"[{told.index(text) + 1}]" for text in line.assumptions)
            rests = f", {line.n:,} {line.n_of} of {line.customers:,} customers" if line.n else ""
            out.append(f"  {line.status}: {line.figures()}{rests} {marks}".rstrip())
            if line.hidden is not None:
                out.append(_wrapped(line.hidden.sentence(), "    ", "    "))
        out.append("")
        out += [_wrapped(text, f"[{number}] ", "    ") for number, text in enumerate(told, 1)]
        if self.not_computed:
            out += ["", "Not computed:"]
            out += [_wrapped(text, "* ", "  ") for text in self.not_computed]
        return "\n".join(out)


def _strength(outcome: float, effort: float) -> float:
    """Size of the bias that two shares allow, in units of the largest possible."""
    effort = min(max(effort, 0.0), 0.999999)
    return (max(outcome, 0.0) * effort / (1.0 - effort)) ** 0.5


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _wrapped(text: str, first: str, then: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=then)


SURVEY = (
    "Stated intentions in a survey by CEB, now Gartner (book of 2013, 97,000 customers; often "
    "quoted as a study of 2019). The method is published thinly. No figure here uses it."
)
QUOTED = "Gartner, as quoted by others; no method was seen. No figure here uses it."
LITERATURE = tuple(
    EffortLine(name, label, "literature", value, None, None, "%", assumptions=(source,))
    for name, label, value, source in (
        ("disloyal_high", "Say that they are more disloyal after high effort", 96.0, SURVEY),
        ("disloyal_low", "Say that they are more disloyal after low effort", 9.0, SURVEY),
        ("cost_of_low", "A low-effort contact is said to cost less by", 37.0, QUOTED),
    )
)
