"""Foreign models whose address, checksum and manifest are known: `earwitness models add yamnet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..stream.errors import EarwitnessError
from .bundle import KNOWN as MANIFESTS
from .bundle import user_folder
from .data.download import download
from .foreign import Added, add_model, digest


@dataclass(frozen=True)
class Known:
    """One model: `manifest` lies in models/known, `url` is "" where none is known."""

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


def add_known(model: str, file: Path | None = None, name: str | None = None, out: Path | None = None) -> Added:
    """Make and install the bundle of a known model, from its official address or a file that is here already.

    Args:
        model: one of `KNOWN`.
        file: the model's file; None: it is downloaded, kept beside the bundles while that is not complete.
        name, out: as `add_model` has them.

    Raises:
        EarwitnessError: no connection, a file that is not the known one, or `add_model`'s.
    """
    known, fetched = KNOWN[model], None
    if file is None:
        if not known.url:
            raise EarwitnessError(
                f"{model}: no address of it is known; where {known.file} is here, give it: "
                f"earwitness models add {model} --file {known.file}"
            )
        to = (out or user_folder()) / ".downloads" / known.file
        try:
            file = fetched = download(known.url, to, f"sha256:{known.sha256}", known.bytes)
        except EarwitnessError as error:
            raise EarwitnessError(f"{error}; or give the file: --file {known.file}") from None
    try:
        data = file.read_bytes() if file.stat().st_size == known.bytes else b""
    except OSError as error:
        raise EarwitnessError(f"{file}: {error.strerror}") from None
    if digest(data) != known.sha256:
        raise EarwitnessError(f"{file} is not the file that is known as {model}: its SHA-256 is another")
    added = add_model(file, MANIFESTS / known.manifest, name, out, extra={"CREDITS.txt": known.credits.encode()})
    if fetched is not None:
        fetched.unlink()
    return added
