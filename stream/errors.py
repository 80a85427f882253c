"""Errors that a person can mend: one line that says what, where, and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EarwitnessError(Exception):
    """Something that the user can mend. Its message is one line; the command line prints it and exits with 2."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The hint that ends an error message: the closest valid choice, else all of them.

    >>> nearest("dgo", ["dog", "cat"])
    "did you mean 'dog'?"
    >>> nearest("DOG", ["dog", "cat"])
    "did you mean 'dog'?"
    >>> nearest("xylophone", ["dog", "cat"])
    "valid: 'cat', 'dog'"
    """
    choices = sorted(set(valid))
    folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6) or [
        folded[found] for found in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    ]
    if close:
        return f"did you mean {close[0]!r}?"
    if not choices:
        return "there is none to choose from"
    return "valid: " + ", ".join(repr(choice) for choice in choices[:20]) + (", …" if len(choices) > 20 else "")
