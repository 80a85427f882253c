"""Runs an audio classifier of Hugging Face's `transformers` in torch, its own feature extractor before it.

torch and transformers are loaded with the first runtime, never by importing this.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from .graph import LARGEST_BATCH
from .layout import Array, Tensor, to_scores

KIND = "transformers"  # of such a bundle's network
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def is_transformers(bundle: Bundle) -> bool:
    """Whether a bundle is one of these."""
    network = bundle.manifest.network
    return network is not None and network.kind == KIND


class TransformersRuntime:
    """A folder of `transformers` as the bundle's verified bytes have it; nothing is fetched, no code of it is run."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        missing = [name for name in FILES if name not in bundle.contents]
        if missing:
            raise EarwitnessError(f"bundle {bundle.path}: it has no {missing[0]}")
        self.bundle, self.device = bundle, device
        self._output, self._labels = bundle.manifest.output, len(bundle.manifest.labels)
        self._rate = bundle.manifest.front_end.sr
        auto = _load_transformers(bundle)
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            for name in FILES:
                (Path(folder) / name).write_bytes(bundle.contents[name])
            plain: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            try:
                self._extractor = auto.AutoFeatureExtractor.from_pretrained(folder, **plain)
                # Its configuration may name an implementation of attention that would be fetched.
                self._model = auto.AutoModelForAudioClassification.from_pretrained(
                    folder, use_safetensors=True, attn_implementation="eager", **plain
                )
            except Exception as error:  # whatever transformers, safetensors and torch raise
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise EarwitnessError(f"bundle {bundle.path}: transformers refuses it: {reason}") from error
        self._model = self._model.float().eval().to(device)
        if self._model.config.num_labels != self._labels:
            has = self._model.config.num_labels
            raise EarwitnessError(f"bundle {bundle.path}: the model has {has} labels, the manifest {self._labels}")

    def scores(self, windows: Array) -> Array:
        """See `Runtime`."""
        parts = [
            self.call(windows[first : first + LARGEST_BATCH], {})[0] for first in range(0, len(windows), LARGEST_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self._labels), np.float32)

    def call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]:
        """See `Runtime`."""
        import torch

        samples = list(np.ascontiguousarray(windows[:, :, 0]))
        given = self._extractor(samples, sampling_rate=self._rate, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**{name: each.to(self.device) for name, each in given.items()}).logits
        try:
            return to_scores(logits.float().cpu().numpy(), self._output, len(windows), self._labels), {}
        except EarwitnessError as error:
            raise EarwitnessError(f"bundle {self.bundle.path}: {error}") from None


def _load_transformers(bundle: Bundle) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when it is imported
    try:
        import torch  # noqa: F401

        from ..torchaudio_cpu import import_torchaudio

        try:
            import_torchaudio()  # some extractors want it, and cannot import it beside a torch without CUDA
        except ImportError:
            pass
        import transformers
    except ImportError as error:
        raise EarwitnessError(
            f"bundle {bundle.path}: it needs {error.name}: pip install 'earwitness[transformers]'"
        ) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
