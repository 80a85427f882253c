"""The process that measures the models: `python -m earwitness.models.bench.model_cases [--quick]`.

Each case makes so many decisions in one call, of a bundle in the box in one of its runtimes, or has the front end take
in so many streams the sound that a decision adds; YAMNet in LiteRT stands beside them, whose front end is in its file.
How that is timed is told at the head of `rounds`. The last line it prints is JSON, for `models`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ...stream.errors import EarwitnessError
from ...stream.features.frontend import FrontEndSpec, compute
from ..bundle import FORMAT_VERSION, PRETRAINED, Bundle, Input, Manifest, Network, Output, bundle_names, find_bundle
from ..data.root import data_root
from ..export import INPUT, OUTPUT, states_of, to_onnx
from ..foreign.known_models import KNOWN, add_known
from ..networks.registry import build_network, for_use
from ..quantise import quantise
from ..runtime import WEIGHTS, LiteRtRuntime, OnnxRuntime, Runtime, Scorer, TorchRuntime
from ..runtimes.layout import Array
from ..training.recipe import Recipe, recipe_named, recipe_names
from .contenders import Makers, Step, pushing, sound
from .rounds import rounds

BATCHES = (1, 16, 64, 256)  # decisions in one call
TORCH, FP32, INT8, LITERT = "torch fp32", "ONNX Runtime fp32", "ONNX Runtime int8", "LiteRT"
FRONT_END = "front end"
YAMNET = "yamnet"
ALIKE = 2  # sets of windows that a case takes in turn
GOING_ON = 20  # the same of a model with states: hops that follow each other


class Contender(NamedTuple):
    """A bundle that is measured, and what the page shall say of it."""

    bundle: Bundle
    remark: str = ""


def case_of(model: str, what: str, batch: int) -> str:
    """The name of a case: `what` is a runtime or FRONT_END."""
    return f"{model}, {what}, {batch}"


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything, for `models` to make tables of."""
    torch.set_num_threads(1)
    box, missing = contenders(), {}
    cases: Makers = {}
    for contender in box:
        cases |= dict(cases_of(contender.bundle))
    try:
        yamnet = [Contender(yamnet_bundle())]
        cases |= dict(litert_cases(yamnet[0].bundle))
    except EarwitnessError as error:
        yamnet, missing[YAMNET] = [], str(error)
    return {
        "models": {each.bundle.manifest.name: told_of(each) for each in (*box, *yamnet)},
        "missing": missing,
        "rounds": rounds(cases, 15.0 if quick else 120.0),
    }


def told_of(contender: Contender) -> dict[str, Any]:
    """What the tables need to know of a model."""
    manifest = contender.bundle.manifest
    frame_s = manifest.front_end.hop_length / manifest.front_end.sr
    return {
        "hop_s": manifest.hop_frames * frame_s,
        "window_s": manifest.front_end.frame_span(manifest.window_frames - 1)[1] / manifest.front_end.sr,
        "goes_on": bool(manifest.states),
        "parameters": manifest.network.parameters if manifest.network else 0,
        "remark": contender.remark,
    }


# ---- who is measured


def contenders(folder: Path = PRETRAINED) -> list[Contender]:
    """The bundles in the box; untrained networks where a recipe in the box has none yet."""
    box = [Contender(find_bundle(name, folder)) for name in bundle_names(folder)]
    for recipe in map(recipe_named, recipe_names()):
        if recipe.name not in bundle_names(folder):
            labels = next((bundle.manifest.labels for bundle, _ in box if _learnt_from(bundle) == recipe.data.name), [])
            remark = "an untrained network of its recipe, as the box has no such bundle yet"
            box.append(Contender(untrained(recipe, labels or ["event", "background"]), remark))
    return box


def untrained(recipe: Recipe, labels: list[str]) -> Bundle:
    """A bundle, in memory alone, of the network that a recipe asks for."""
    torch.manual_seed(recipe.seed)
    shape = recipe.window_frames, recipe.front_end.dims
    network = build_network(recipe.network.kind, shape, len(labels), recipe.network.options)
    used = for_use(network)
    states = states_of(used)
    frames = int(getattr(network, "hop_frames", recipe.hop_frames)) if states else recipe.window_frames
    manifest = Manifest(
        format_version=FORMAT_VERSION, name=recipe.name, description=recipe.description, licence=recipe.licence,
        labels=labels, window_frames=frames, hop_frames=frames if states else recipe.hop_frames,
        front_end=recipe.front_end, input=Input(name=INPUT, shape=[0, frames, recipe.front_end.dims]),
        output=Output(name=OUTPUT, activation="softmax"), thresholds=dict.fromkeys(labels, 0.5), states=states,
        network=Network(
            kind=recipe.network.kind, options=dict(recipe.network.options),
            parameters=sum(each.numel() for each in used.parameters()),
        ),
    )  # fmt: skip
    return Bundle(Path(recipe.name), manifest, "", to_onnx(used, (frames, recipe.front_end.dims)))


def yamnet_bundle() -> Bundle:
    """YAMNet as `models add` installed it, else of the file in `models` beside the folder of the data sets.

    Raises:
        EarwitnessError: it is neither here nor there, or LiteRT is not installed.
    """
    name, known = YAMNET, KNOWN[YAMNET]
    if name in bundle_names():
        bundle = find_bundle(name)
        if bundle.manifest.files["model.tflite"].sha256 == known.sha256:
            return bundle
    try:
        file = data_root().parent / "models" / known.file
    except EarwitnessError:
        file = Path(known.file)
    if not file.is_file():
        raise EarwitnessError(f"it is not here (earwitness models add {name})")
    with tempfile.TemporaryDirectory() as folder:
        return add_known(name, file, out=Path(folder)).bundle  # verified: it lives on in memory


def _learnt_from(bundle: Bundle) -> str:
    training = bundle.manifest.training
    return training.data.partition(",")[0] if training else ""


# ---- what is timed


def cases_of(bundle: Bundle) -> Iterator[tuple[str, Callable[[], Step]]]:
    """A bundle of ours: its runtimes, and the front end with the sound that a decision adds."""
    manifest, runtimes = bundle.manifest, runtimes_of(bundle)
    for batch in BATCHES:
        for name, runtime in runtimes.items():
            yield case_of(manifest.name, name, batch), _deciding(runtime, manifest, batch)
        added = manifest.hop_frames * manifest.front_end.hop_length
        yield case_of(manifest.name, FRONT_END, batch), _hearing(manifest.front_end, batch, added)


def runtimes_of(bundle: Bundle) -> dict[str, Runtime]:
    """By the names that the tables use; one that is in 8-bit integers already has no other."""
    if WEIGHTS not in bundle.contents:
        return {INT8: OnnxRuntime(bundle)}
    return {TORCH: TorchRuntime(bundle, "cpu"), FP32: OnnxRuntime(bundle), INT8: OnnxRuntime(in_integers(bundle))}


def litert_cases(bundle: Bundle) -> Iterator[tuple[str, Callable[[], Step]]]:
    """A bundle in LiteRT, whose file takes one window a call."""
    yield case_of(bundle.manifest.name, LITERT, 1), _deciding(LiteRtRuntime(bundle), bundle.manifest, 1)


def in_integers(bundle: Bundle) -> Bundle:
    """The bundle in 8-bit integers, with ranges of the measured sound: right for its speed, not for its ears."""
    sets = windows_of_streams(bundle.manifest, 16)
    one_stream = np.concatenate([each[:1] for each in sets])
    windows = one_stream if bundle.manifest.states else np.concatenate(sets)
    return dataclasses.replace(bundle, contents=quantise(bundle, windows))


def _deciding(runtime: Runtime, manifest: Manifest, batch: int) -> Callable[[], Step]:
    """So many decisions in one call: windows, or the next hop each of so many streams with what they carry."""

    def make() -> Step:
        scorer = Scorer(runtime, manifest.states)
        sets, streams = itertools.cycle(windows_of_streams(manifest, batch)), range(batch)

        def step() -> float:
            if manifest.states:
                scorer.scores(next(sets), streams)
            else:
                runtime.call(next(sets), {})
            return batch

        return step

    return make


def _hearing(spec: FrontEndSpec, streams: int, samples: int) -> Callable[[], Step]:
    """Our front end, as it streams: so many samples more of each stream at every step."""

    def make() -> Step:
        push = pushing(spec, streams, samples)()

        def step() -> float:
            push()
            return streams

        return step

    return make


def windows_of_streams(manifest: Manifest, streams: int, sets: int = 0) -> list[Array]:
    """Windows [streams, window_frames, dims] of streams that are elsewhere in the sound, and those of the next hops.

    `sets`: how many of such; 0: as a case takes.
    """
    sets = sets or (GOING_ON if manifest.states else ALIKE)
    return _windows(manifest.front_end, manifest.window_frames, manifest.hop_frames, streams, sets)


@lru_cache(maxsize=1)  # the cases of one batch follow each other
def _windows(spec: FrontEndSpec, length: int, hop: int, streams: int, sets: int) -> list[Array]:
    frames = _frames(spec)
    starts = np.arange(streams) * 7919 % (len(frames) - length - sets * hop)
    return [np.stack([frames[start + k * hop :][:length] for start in starts]) for k in range(sets)]


@lru_cache(maxsize=4)
def _frames(spec: FrontEndSpec) -> Array:
    return compute(spec, sound())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(quick="--quick" in sys.argv)))
