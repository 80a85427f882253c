"""The state of a training run on the disk: whole or not there, and never code (`torch.load(weights_only=True)`)."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from pickle import UnpicklingError  # the name of what torch raises; nothing is unpickled here
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ...stream.durable import write_whole
from ...stream.errors import EarwitnessError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state in place of the last one, which stays as it is when this fails.

    Raises:
        EarwitnessError: the disk is full or cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _write(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state that was saved, on the CPU; None when there is none.

    Raises:
        EarwitnessError: the file is no checkpoint.
    """
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of files that are not its own, the error says better
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise EarwitnessError(f"{path} is no checkpoint ({type(error).__name__}): remove it to begin anew") from error
    return state


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write a network's weights as safetensors. Raises EarwitnessError as `save_checkpoint`."""
    _write(path, to_safetensors({name: value.contiguous().cpu() for name, value in weights.items()}))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a safetensors file. Raises EarwitnessError when it is missing or is none."""
    try:
        return from_safetensors(path.read_bytes())
    except OSError as error:
        raise EarwitnessError(f"cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise EarwitnessError(f"{path} is no safetensors file: {error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise EarwitnessError(f"cannot write {path}: {error.strerror}") from error
