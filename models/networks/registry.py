"""The networks by name: their options, how each is built, and the copy that is exported and runs.

Importing this loads no torch; a network's file, and torch with it, is loaded when its options or itself are asked for.

A network's file has `Options` (a `NetworkOptions`), `build(shape, classes, options)`, and `RETIRED` where manifests of
earlier bundles name options that say nothing any more.

**The rule of names.** A batch norm behind the convolution or linear layer NAME of the same module is called NAME_norm.
By that `for_use` finds what to fold; a norm of rows [rows, values] without such a layer becomes a factor and a summand.
"""

from __future__ import annotations

import copy
import importlib
import typing
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from ...stream.errors import EarwitnessError, nearest

if TYPE_CHECKING:
    from torch import nn

NETWORKS = {
    "perceptron": "one linear layer over the statistics of a window",
    "shallow": "one hidden layer over the statistics of a window",
    "deep": "a multilayer perceptron with chosen layers and activation",
    "autoencoder": "gives windows back through a narrow place; what it cannot give back is unfamiliar",
    "cnn1d": "one-dimensional convolutions on samples (front end `waveform`)",
    "cnn": "two-dimensional convolutions over time and frequency",
    "rnn": "plain recurrent cells over frames",
    "lstm": "long short-term memory over frames",
    "gru": "gated recurrent units over frames",
    "tdnn": "dilated one-dimensional convolutions over frames, statistics over the window",
    "crnn": "two-dimensional convolutions, then gated recurrent units over frames",
    "stream": "causal convolutions and pooled memory that go on from hop to hop, for live use",
}
"""One line on each kind; the name is that of its file."""


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every network's `Options`; each field is `Annotated` with an `msgspec.Meta(description=…)`."""


Options = TypeVar("Options", bound=NetworkOptions)

Sizes = Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)]
Dropout = Annotated[
    float, msgspec.Meta(ge=0, lt=1, description="share of values left out in training, before the last layer")
]


def check_odd(kernels: Iterable[int]) -> None:
    """For an `Options`: ValueError, which becomes an EarwitnessError, where a kernel has no middle."""
    for kernel in kernels:
        if kernel % 2 == 0:
            raise ValueError(f"a kernel must be odd, not {kernel}: {kernel - 1} or {kernel + 1}")


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
    return checked_options(f"network {kind}", struct, options)


def checked_options(owner: str, struct: type[Options], options: Mapping[str, Any]) -> Options:
    """The struct of options, or what is wrong with them: an EarwitnessError that begins with their owner."""
    for name in options:
        if name not in struct.__struct_fields__:
            raise EarwitnessError(f"{owner} has no option {name!r}; {nearest(name, struct.__struct_fields__)}")
    for field in msgspec.structs.fields(struct):
        choices, value = _choices(field.type), options.get(field.name)
        if choices and isinstance(value, str) and value not in choices:
            raise EarwitnessError(f"{owner}: {field.name} is {value!r}; {nearest(value, choices)}")
    try:
        return msgspec.convert(dict(options), struct)
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"{owner}: {error}") from error


def describe(kind: str) -> list[tuple[str, str, Any, str]]:
    """A kind's options for people: (name, type, default, description), in the order of its file."""
    return describe_options(options_of(kind))


def describe_options(struct: type[NetworkOptions]) -> list[tuple[str, str, Any, str]]:
    """See `describe`."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
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
                if hasattr(module, layer):
                    setattr(module, layer, _fused(getattr(module, layer), norm))
                    setattr(module, name, nn.Identity())
                else:
                    setattr(module, name, _scaled(norm))
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


def _scaled(norm: Any) -> nn.Module:
    """A batch norm of rows in evaluation mode, as the diagonal of a linear layer."""
    from .inputs import Scaled

    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return Scaled(scale.detach(), (norm.bias - norm.running_mean * scale).detach())


def _choices(kind: Any) -> tuple[str, ...]:
    """The values of a Literal, Annotated or not; none for another type."""
    if typing.get_origin(kind) is typing.Annotated:
        return _choices(typing.get_args(kind)[0])
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def _type_name(kind: Any) -> str:
    """A type in words: "int", "list of int", "one of relu, elu"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if choices := _choices(kind):
        return "one of " + ", ".join(choices)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin in (tuple, list):
        return f"list of {_type_name(inner[0])}"
    return str(getattr(kind, "__name__", kind))
