"""Passwords as they are kept: salted scrypt, slow on purpose, compared in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from retain.errors import ConfigError

__all__ = ["LEAST", "hash_password", "password_fits"]

LEAST = 12
"""Characters that a password has at least."""

_LOG2_N, _R, _P = 15, 8, 1  # 32 MiB and about 0.1 s a guess
_LONGEST = 1024


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=1 << 28, dklen=32
    )


def hash_password(password: str) -> str:
    """Hash a password with a salt of its own.

    Parameters
    ----------
    password
        At least `LEAST` characters.

    Returns
    -------
    str
        Method, cost, salt and hash: all that is needed to check it, and not the password.

    Raises
    ------
    ConfigError
        When it is too short, or longer than any password is.

    Examples
    --------
    >>> hash_password("correct horse battery").split("$")[:4]
    ['scrypt', '15', '8', '1']
    """
    if not LEAST <= len(password) <= _LONGEST:
        raise ConfigError(
            f"password: found {len(password)} characters, expected at least {LEAST}. "
            "Four or five words make a good one."
        )
    salt = secrets.token_bytes(16)
    made = _scrypt(password, salt, _LOG2_N, _R, _P)
    coded = (base64.b64encode(part).decode() for part in (salt, made))
    return "$".join(["scrypt", str(_LOG2_N), str(_R), str(_P), *coded])


def password_fits(password: str, kept: str) -> bool:
    """Tell whether a password is the one that was hashed.

    An empty `kept` fits nothing, and takes as long as one that does: how long an answer takes does
    not say whether a name is known.

    Examples
    --------
    >>> kept = hash_password("correct horse battery")
    >>> password_fits("correct horse battery", kept), password_fits("correct horse", kept)
    (True, False)
    >>> password_fits("", "")
    False
    """
    parts = kept.split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        _scrypt(password[:_LONGEST], b"nobody's", _LOG2_N, _R, _P)
        return False
    log2_n, r, p = (int(part) for part in parts[1:4])
    made = _scrypt(password[:_LONGEST], base64.b64decode(parts[4]), log2_n, r, p)
    return hmac.compare_digest(made, base64.b64decode(parts[5]))
