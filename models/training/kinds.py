"""Everything that `earwitness train --network` can train: the networks and the classical families. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...stream.errors import EarwitnessError, nearest
from ..classical.families import FAMILIES, PLAIN_RECIPE, family_options_of, read_family_options
from ..networks.registry import NETWORKS, NetworkOptions, describe_options, options_of, read_options

KINDS = NETWORKS | FAMILIES
"""One line on each."""

SECONDS_OF_SAMPLES = {"front_end": {"feature": "waveform"}, "window_frames": 16_000, "hop_frames": 4_000}
"""A second of samples a window, for a network that takes no features."""


def read_kind_options(kind: str, options: Mapping[str, Any]) -> NetworkOptions:
    """Options as a recipe names them, checked; what is left out has its default. A network's load torch.

    Raises:
        EarwitnessError: no such kind, an unknown option with the nearest one, or a value that cannot be.
    """
    if kind in FAMILIES:
        return read_family_options(kind, options)
    _check_kind(kind)
    return read_options(kind, options)


def describe_kind(kind: str) -> list[tuple[str, str, Any, str]]:
    """A kind's options for people: (name, type, default, description). EarwitnessError when there is no such kind."""
    _check_kind(kind)
    return describe_options(family_options_of(kind) if kind in FAMILIES else options_of(kind))


def plain_recipe(kind: str) -> dict[str, Any]:
    """The tables of a recipe that says nothing but the kind and its data, where they are not a recipe's defaults."""
    if kind in FAMILIES:
        return PLAIN_RECIPE
    return SECONDS_OF_SAMPLES if kind == "cnn1d" else {}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise EarwitnessError(f"no network {kind!r}: {nearest(kind, KINDS)}")
