"""Foreign models whose address, checksum and manifest are known: `earwitness models add yamnet`."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ...stream.errors import EarwitnessError
from ..bundle import KNOWN as MANIFESTS
from ..bundle import user_folder
from ..data.download import PAUSE_S, download
from .add import Added, add_model


@dataclass(frozen=True)
class Known:
    """One model: `manifest` lies in models/foreign/known, `url` is "" where none is known."""

    file: str
    sha256: str
    bytes: int
    manifest: str
    credits: str
    url: str = ""


_YAMNET = """\
YAMNet, by Google: a network of 521 classes of AudioSet, MobileNet v1. Apache License 2.0.
https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
The labels are the display names of its yamnet_class_map.csv, of the same licence; the classes are those of AudioSet
(Gemmeke et al., 2017, https://research.google.com/audioset), whose ontology is under CC BY-SA 4.0.
"""

KNOWN = {
    "yamnet": Known(
        file="yamnet.tflite",
        sha256="10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
        bytes=4126810,
        manifest="yamnet.toml",
        credits=_YAMNET,
        # MediaPipe's own, as its WORKSPACE pins it (third_party/external_files.bzl), with this checksum.
        url="https://storage.googleapis.com/mediapipe-assets/yamnet_audio_classifier_with_metadata.tflite"
        "?generation=1661875980774466",
    ),
    "yamnet-patches": Known(
        file="yamnet_spectra_in.tflite",
        sha256="0a266465c46718f3fcc4137366be82882a8c93bfcc4f0278581a11d11dddcdf9",
        bytes=4047424,
        manifest="yamnet-patches.toml",
        credits=_YAMNET + "This file takes log-mels; it comes with the Coral projects.\n",
    ),
}


def add_known(
    model: str, file: Path | None = None, name: str | None = None, out: Path | None = None, pause_s: float = PAUSE_S
) -> Added:
    """Make and install the bundle of a known model, from its official address or a file that is here already.

    Args:
        model: one of `KNOWN`.
        file: the model's file; None: it is downloaded, kept beside the bundles while that is not complete.
        name, out: as `add_model` has them.
        pause_s: as `download` has it.

    Raises:
        EarwitnessError: no connection, a file that is not the known one, or `add_model`'s.
    """
    known = KNOWN[model]
    if file is not None:
        return _add(model, file, name, out)
    if not known.url:
        raise EarwitnessError(
            f"{model}: no address of it is known; where {known.file} is here, give it: "
            f"earwitness models add {model} --file {known.file}"
        )
    to = (out or user_folder()) / ".downloads" / known.file
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EarwitnessError(f"{to.parent}: {error.strerror}") from None
    download(known.url, to, known.bytes, pause_s=pause_s, option="--file")
    try:
        return _add(model, to, name, out)
    finally:
        to.unlink()
        with contextlib.suppress(OSError):  # of another model that is on its way there
            to.parent.rmdir()


def _add(model: str, file: Path, name: str | None, out: Path | None) -> Added:
    known = KNOWN[model]
    try:
        data = file.read_bytes() if file.stat().st_size == known.bytes else b""
    except OSError as error:
        raise EarwitnessError(f"{file}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != known.sha256:
        raise EarwitnessError(f"{file} is not the file that is known as {model}: its SHA-256 is another")
    return add_model(file, MANIFESTS / known.manifest, name, out, extra={"CREDITS.txt": known.credits.encode()})
