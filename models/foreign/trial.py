"""Tries a bundle on silence and noise: whether it runs, gives finite probabilities, and means what its manifest says.

    python -m earwitness.models.foreign.trial FOLDER

prints what is odd, a line each; exit 2 with one line on standard error where it cannot be used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from ...stream.errors import EarwitnessError
from ...stream.features.frontend import compute, silence
from ...stream.windowing import windows_of
from ..bundle import Bundle
from ..runtime import open_runtime
from ..runtimes.layout import Array

COMPANY = 1e-3  # by which a score may change with the size of its batch: 8 bits and single precision round so
NOISE = (0.01, 0.3)  # of full scale, root mean square


def try_bundle(bundle: Bundle) -> list[str]:
    """What is odd about a bundle, a line each.

    Raises:
        EarwitnessError: it does not fit its manifest, gives what is no probability, or depends on its company.
    """
    windows = sounds(bundle)
    scores = {name: _scored(bundle, each) for name, each in windows.items()}
    if not bundle.manifest.states:
        _check_company(bundle, np.concatenate([*windows.values()]), np.concatenate([*scores.values()]))
    return [*_activated_twice(bundle, windows), *_deaf(scores)]


def sounds(bundle: Bundle) -> dict[str, Array]:
    """Two windows each of silence and of noise, as the front end gives them."""
    manifest, spec = bundle.manifest, bundle.manifest.front_end
    last = manifest.window_frames + manifest.hop_frames - 1
    length = spec.frame_span(last)[1] + spec.latency_samples
    random = np.random.default_rng(0)
    signals = {"silence": np.zeros(length, np.float32)}
    for level in NOISE:
        signals[f"noise of {level:g}"] = (level * random.standard_normal(length)).clip(-1, 1).astype(np.float32)
    return {
        name: windows_of(compute(spec, each), manifest.window_frames, manifest.hop_frames, silence(spec))[:2]
        for name, each in signals.items()
    }


def _scored(bundle: Bundle, windows: Array) -> Array:
    scores = open_runtime(bundle, "cpu").scores(windows)
    labels = len(bundle.manifest.labels)
    if scores.shape != (len(windows), labels):
        raise EarwitnessError(f"bundle {bundle.path}: it gives {list(scores.shape)} for {len(windows)} windows")
    return scores


def _check_company(bundle: Bundle, windows: Array, alone: Array) -> None:
    together = open_runtime(bundle, "cpu").scores(windows)
    furthest = float(np.abs(together - alone).max())
    if furthest > COMPANY:
        raise EarwitnessError(
            f"bundle {bundle.path}: a window's scores change by {furthest:.2g} with the windows beside it; "
            "the batch in input.shape must be 1"
        )


def _activated_twice(bundle: Bundle, windows: Mapping[str, Array]) -> list[str]:
    """Whether what the manifest calls logits are probabilities already."""
    manifest = bundle.manifest
    if manifest.output.activation == "none":
        return []
    plain = msgspec.structs.replace(manifest.output, activation="none", temperature=1.0)
    bare = Bundle(bundle.path, msgspec.structs.replace(manifest, output=plain), bundle.sha256, bundle.contents)
    try:
        values = np.concatenate([_scored(bare, each) for each in windows.values()])
    except EarwitnessError:  # no probabilities: as it should be
        return []
    if manifest.output.activation == "softmax" and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise EarwitnessError(
            f"bundle {bundle.path}: output {manifest.output.name!r} gives probabilities already, which add up to 1; "
            'output.activation is "none" then'
        )
    return [f"output {manifest.output.name!r} gives 0 to 1 before the activation: are these probabilities already?"]


def _deaf(scores: Mapping[str, Array]) -> list[str]:
    quiet, *loud = scores.values()
    if all(np.allclose(quiet[:1], each[:1], atol=1e-4) for each in loud):
        return ["it gives the same for silence and noise: are input.scale and the front end right?"]
    return []


def main() -> int:
    """See the head of this file."""
    try:
        for line in try_bundle(Bundle.load(Path(sys.argv[1]))):
            print(line)
    except EarwitnessError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except MemoryError:
        print("the model wants more memory than there is", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
