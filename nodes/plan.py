"""Which nodes a run has, and in which order sound flows through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..stream.config import Config
from ..stream.errors import EarwitnessError
from ..stream.shares import Share
from ..stream.sources.source import OWN_PROCESS, source_specs


@dataclass(frozen=True)
class Part:
    """One node of a run: its unique name, its module, and which part of the run is its own."""

    name: str
    node: str
    part: str = ""  # a source's or a model's name, a share of the streams as `Share.parse` reads it; "" for all


def plan(config: Config) -> list[Part]:
    """The nodes of a run, in the order of the flow. A device, or a network stream, has a capture process of its own.

    Raises EarwitnessError when none is left of those that the run is limited to.
    """
    sources = source_specs(config.source_settings)
    devices = [source.name for source in sources if source.kind in OWN_PROCESS]
    others = len(devices) < len(sources)
    models = [model.bundle for model in config.model_settings]
    parts = [Part("broker", "broker")]
    if others:
        parts.append(Part("capture", "capture"))
    parts += [Part(f"capture-{name}", "capture", name) for name in devices]
    if config.workers == 1:
        parts.append(Part("features", "features"))
    else:
        workers = range(1, config.workers + 1)
        parts += [Part(f"features-{number}", "features", f"{number}/{config.workers}") for number in workers]
    if len(models) == 1:
        parts.append(Part("classify", "classify", models[0]))
    else:
        parts += [Part(f"classify-{number}", "classify", bundle) for number, bundle in enumerate(models, 1)]
    if config.clips:
        parts.append(Part("recorder", "recorder"))
    parts.append(Part("monitor", "monitor"))
    chosen = [part for part in parts if not config.only or part.node in config.only]
    if not chosen:
        raise EarwitnessError(f"nothing to do: only {', '.join(config.only)}, and without clips there is no recorder")
    return chosen


def share_of(part: Part, streams: Iterable[str]) -> Share:
    """The streams of a part; `streams`: all that the run has, where these are known beforehand."""
    return Share.parse(part.part if part.node == "features" else "", streams)
