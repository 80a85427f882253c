"""The networks by name: their options, how each is built, and the copy that is exported and runs.

Importing this loads no torch; a network's file, and torch with it, is loaded when its options or itself are asked for.

A network's file has `Options` (a `NetworkOptions`), `build(shape, classes, options)`, and `RETIRED` where manifests of
earlier bundles name options that say nothing any more.

**The rule of names.** A batch norm behind the convolution or linear layer NAME of the same module is called NAME_norm.
By that `for_use` finds what to fold.
"""

from __future__ import annotations

import copy
import importlib
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from ...stream.errors import EarwitnessError, nearest

if TYPE_CHECKING:
    from torch import nn

NETWORKS = {
    "cnn": "two-dimensional convolutions over time and frequency",
}
"""One line on each kind; the name is that of its file."""


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every network's `Options`; each field is `Annotated` with an `msgspec.Meta(description=…)`."""


def options_of(kind: str) -> type[NetworkOptions]:
    """The struct of a kind's options.

    Raises:
        EarwitnessError: there is no such network, with the nearest one.
    """
    kind_options: type[NetworkOptions] = _module(kind).Options
    return kind_options


def read_options(kind: str, options: Mapping[str, Any]) -> NetworkOptions:
    """Options as a recipe or a manifest names them, checked; what is left out has its default.

    Raises:
        EarwitnessError: no such network, an unknown option with the nearest one, or a value that cannot be.
    """
    module, struct = _module(kind), options_of(kind)
    options = {name: value for name, value in options.items() if name not in getattr(module, "RETIRED", ())}
    for name in options:
        if name not in struct.__struct_fields__:
            raise EarwitnessError(f"network {kind} has no option {name!r}; {nearest(name, struct.__struct_fields__)}")
    try:
        return msgspec.convert(options, struct)
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"network {kind}: {error}") from error


def describe(kind: str) -> list[tuple[str, str, Any, str]]:
    """A kind's options for people: (name, type, default, description), in the order of its file."""
    hints = typing.get_type_hints(options_of(kind), include_extras=True)
    found = []
    for field in msgspec.structs.fields(options_of(kind)):
        metas = [meta for meta in hints[field.name].__metadata__ if isinstance(meta, msgspec.Meta)]
        description = "; ".join(meta.description for meta in metas if meta.description)
        found.append((field.name, _type_name(field.type), field.default, description))
    return found


def build_network(kind: str, shape: tuple[int, int], classes: int, options: Mapping[str, Any]) -> nn.Module:
    """A network with random weights, in training mode.

    Args:
        kind: one of `NETWORKS`.
        shape: (window_frames, dims) of the windows it takes.
        classes: logits it gives.
        options: by the names of `options_of(kind)`.

    Returns:
        A module: float32 windows [batch, window_frames, dims] -> logits [batch, classes]. One that has the attribute
        `reconstructs` gives, until `for_use`, the windows back instead; see `models/networks/autoencoder.py`.

    Raises:
        EarwitnessError: no such network, options that cannot be, or a window too small for them.
    """
    if min(*shape, classes) < 1:
        raise EarwitnessError(f"network {kind}: window {shape} and {classes} classes; each must be 1 or more")
    network: nn.Module = _module(kind).build(shape, classes, read_options(kind, options))
    return network


def for_use(network: nn.Module) -> nn.Module:
    """A copy that computes the same in evaluation mode, batch norms folded into the layers before them.

    This is what is exported and what a runtime loads weights into. A network with a method `for_use` of its own (one
    that gives something else in use than in training) makes the copy itself; the norms are folded all the same.
    """
    from torch import nn

    own = getattr(network, "for_use", None)
    used: nn.Module = (own() if own is not None else copy.deepcopy(network)).eval()
    for module in used.modules():
        for name, norm in list(module.named_children()):
            if name.endswith("_norm") and isinstance(norm, nn.modules.batchnorm._BatchNorm):
                layer = name.removesuffix("_norm")
                setattr(module, layer, _fused(getattr(module, layer), norm))
                setattr(module, name, nn.Identity())
    return used


def _module(kind: str) -> ModuleType:
    if kind not in NETWORKS:
        raise EarwitnessError(f"no network {kind!r}: {nearest(kind, NETWORKS)}")
    return importlib.import_module(f".{kind}", __package__)


def _fused(layer: nn.Module, norm: Any) -> nn.Module:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    return fuse_conv_bn_eval(layer, norm, transpose=transposed)  # type: ignore[type-var]


def _type_name(kind: Any) -> str:
    """A type in words: "int", "list of int", "one of relu, elu"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (tuple, list):
        return f"list of {_type_name(inner[0])}"
    return str(getattr(kind, "__name__", kind))
