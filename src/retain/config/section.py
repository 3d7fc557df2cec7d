"""What every group of settings is: frozen, unknown names refused, no truth value for a number."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

__all__ = ["Section", "Texts", "Weekday", "one_open_address"]

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class Section(BaseModel):
    """Settings that belong together: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name, value in given.items():
                field = cls.model_fields.get(name)
                kinds = (field.annotation, *get_args(field.annotation)) if field else ()
                if isinstance(value, bool) and bool not in kinds and {int, float} & set(kinds):
                    raise ValueError(f"{name} should be a number, found {str(value).lower()}")
        return given


def one_open_address(name: str, address: str | None, variable: str | None) -> None:
    """Refuse an address given twice, or one that shows a password.

    Raises
    ------
    ValueError
        As pydantic wants it.

    Examples
    --------
    >>> one_open_address("uri", "postgresql://ann@db/crm", None)
    """
    if address is not None and variable is not None:
        raise ValueError(f"give `{name}` or `{name}_env`, and not both")
    if address is not None and re.search(r"://[^/@\s]*:[^/@\s]+@", address):
        raise ValueError(
            f"{name} holds a password; put the address in a variable, name it {name}_env"
        )
