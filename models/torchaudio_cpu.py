"""torchaudio beside a torch without CUDA.

torchaudio's wheels are built for CUDA, and beside a CPU-only torch they fail to import (`libc10_cuda.so`). Their Python
part, all that is wanted here, needs nothing of the compiled extension.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, NoReturn

_EXTENSION = "torchaudio._extension"


def import_torchaudio() -> Any:
    """The module `torchaudio`, whatever torch is there: without CUDA, a stub stands in for its compiled extension.

    Transforms, `functional` and `compliance.kaldi` work; forced alignment does not, and says so. Files are read with
    soundfile: `torchaudio.load` wants torchcodec.
    """
    torch = importlib.import_module("torch")
    if torch.version.cuda is None and _EXTENSION not in sys.modules:
        sys.modules[_EXTENSION] = _stub()
    return importlib.import_module("torchaudio")


def _stub() -> ModuleType:
    stub: Any = ModuleType(_EXTENSION)
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stub._IS_ALIGN_AVAILABLE = False
    stub._check_cuda_version = lambda: None
    stub.fail_if_no_align = _without_alignment
    return stub  # type: ignore[no-any-return]


def _without_alignment(function: Any) -> Any:
    """Decorates the functions that need the extension: they raise when called."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"{function.__name__} needs torchaudio's extension, which a torch without CUDA cannot load")

    return refuse
