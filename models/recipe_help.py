"""The keys of a recipe for people: what follows `earwitness train --help`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .kinds import KINDS, describe_kind
from .manifest import toml_value
from .recipe import known_keys


def help_lines(network: str | None = None) -> list[str]:
    """All networks, or the options of one; then all keys but the front end's, each with its default and meaning.

    Raises EarwitnessError when there is no such network.
    """
    if network is None:
        lines = ["Networks (--network KIND):", *_columns((kind, line) for kind, line in KINDS.items())]
    else:
        options = describe_kind(network)
        lines = [f"Network {network}: {KINDS[network]}. Its options (--set):"]
        lines += _columns((f"network.{name}={_said(default)}", text) for name, _, default, text in options)
    lines += ["", "Keys of a recipe (--set):"]
    lines += _columns((f"{key}={_said(default)}", text) for key, (text, default) in known_keys().items())
    return [*lines, "front_end.*: every option of the front end, as docs/reference/bundles.md tells them", ""]


def _said(value: Any) -> str:
    return "" if value is None else toml_value(value)


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = min(44, max(len(name) for name, _ in rows)) + 2
    return [f"  {name.ljust(width)}{text}" if len(name) < width else f"  {name}  {text}" for name, text in rows]
