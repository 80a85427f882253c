"""A recipe: all that decides what a training run gives, as one TOML file. No torch here.

    name = "doorbell"
    description = "my doorbell and nothing else"
    licence = "my own recordings"

    [data]
    name = "folder"

    [network]
    kind = "cnn"
    channels = [16, 32, 64]

    [training]
    steps = 2000

Every key has a default but `name` of `[data]`. The recipes of the models in the box lie in `models/recipes/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from ...stream.errors import EarwitnessError, nearest
from ...stream.features.frontend import FrontEndSpec
from ..augmentation.settings import Augmentation
from ..manifest import values_to_toml

FOLDER = Path(__file__).resolve().parents[1] / "recipes"
USUAL_FMAX = 7000.0  # Hz, below what resamplers and codecs leave of 16 kHz: whether the top is there tells nothing

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
AtLeast0 = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DataChoice(_Part, frozen=True, kw_only=True):
    """Which recordings are trained on, which are chosen by, and which are judged by at the end."""

    name: Annotated[str, Meta(description="the data set, as `earwitness data list` tells them")]
    folds: Annotated[tuple[int, ...] | None, Meta(description="trained on; left out: all but the test folds")] = None
    test_folds: Annotated[
        tuple[int, ...] | None,
        Meta(description="judged by at the end, never chosen by; [] none; left out, as folds: the official test's"),
    ] = None
    licences: Annotated[
        tuple[str, ...], Meta(description='only clips under these, as ["CC0", "CC-BY"]; [] is any')
    ] = ()
    validation_part: Annotated[
        float, Meta(ge=0, lt=1, description="of the recordings that are trained on, kept out to choose by; 0 is none")
    ] = 0.1
    backgrounds: Annotated[
        tuple[Literal["synthesised", "rooms", "speech"], ...],
        Meta(description="of synthesised, rooms, speech: what `background` is learnt from; [] is no such label"),
    ] = ("synthesised",)
    multi_label: Annotated[
        bool | Literal["auto"],
        Meta(description="whether each label has a probability of its own; auto: where several sound in one clip"),
    ] = "auto"


class NetworkChoice(_Part, frozen=True, kw_only=True):
    """What is trained: a name of `networks.registry`, and the options that this network has."""

    kind: str = "cnn"
    options: dict[str, Any] = {}


class TrainingSettings(_Part, frozen=True, kw_only=True):
    """How it is trained."""

    loss: Annotated[
        Literal["auto", "cross_entropy", "binary_cross_entropy", "focal", "l1", "mse"],
        Meta(description="auto: cross_entropy; binary_cross_entropy with multi_label; mse for an autoencoder"),
    ] = "auto"
    focal_gamma: Annotated[AtLeast0, Meta(description="how much less `focal` cares for what is right already")] = 2.0
    label_smoothing: Annotated[
        float, Meta(ge=0, lt=1, description="share of each target that is spread over all labels")
    ] = 0.0
    optimizer: Annotated[Literal["sgd", "adam", "adamw", "rmsprop"], Meta(description="what takes the steps")] = "adamw"
    learning_rate: Annotated[Positive, Meta(description="the highest of the schedule")] = 4e-3
    momentum: Annotated[
        float, Meta(ge=0, lt=1, description="of sgd (Nesterov's) and rmsprop; the first beta of adam and adamw")
    ] = 0.9
    weight_decay: Annotated[AtLeast0, Meta(description="of matrices and kernels, not of biases and norms")] = 0.02
    schedule: Annotated[
        Literal["constant", "step", "cosine", "one_cycle"], Meta(description="how the learning rate goes")
    ] = "one_cycle"
    warm_up: Annotated[Share, Meta(description="of the steps, in which it rises: cosine and one_cycle")] = 0.15
    step_every: Annotated[
        float, Meta(gt=0, le=1, description="of the steps, after which `step` lowers it, again and again")
    ] = 0.3
    step_factor: Annotated[float, Meta(gt=0, le=1, description="by which `step` lowers it")] = 0.1
    steps: Annotated[Count, Meta(description="batches")] = 2000
    batch: Annotated[Count, Meta(description="windows of a step, of all processes together")] = 64
    draws: Annotated[
        Count,
        Meta(description="parts a batch is drawn in; so many processes can share the drawing, to the same result"),
    ] = 1
    averaging: Annotated[
        float, Meta(ge=0, lt=1, description="decay of the running mean of the weights, which is what is kept; 0 none")
    ] = 0.998
    clip_norm: Annotated[AtLeast0, Meta(description="the gradients' norm is cut to this; 0 never")] = 2.0
    judge_every: Annotated[Count, Meta(description="steps between looks at the validation part, and checkpoints")] = 250
    patience: Annotated[
        int, Meta(ge=0, description="looks without a better one, after which it ends and the best is kept; 0 never")
    ] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(description="of the products; auto: bf16 on GPUs and CPUs that have units for it, else fp32"),
    ] = "auto"
    teachers: Annotated[
        tuple[str, ...], Meta(description="bundles whose mean judgement of each window is learnt too (distillation)")
    ] = ()
    teacher_weight: Annotated[Share, Meta(description="of the teachers in the loss")] = 0.5
    teacher_temperature: Annotated[Positive, Meta(description="by which both sides' logits are divided there")] = 2.0
    hop_weight: Annotated[
        Share, Meta(description="of each hop's own decision in the loss of a network that decides every hop")
    ] = 0.3
    start_from: Annotated[str, Meta(description="weights to begin with, a .safetensors of such a network")] = ""


class Recipe(_Part, frozen=True, kw_only=True):
    """A whole recipe."""

    name: Annotated[str, Meta(description="of the bundle", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Meta(description="one line on what it hears")] = ""
    licence: Annotated[str, Meta(description="of the bundle")] = "not stated"
    seed: Annotated[int, Meta(ge=0, description="the same seed gives the same bundle on one machine")] = 0
    window_frames: Annotated[Count, Meta(description="frames that one decision sees")] = 96
    hop_frames: Annotated[Count, Meta(description="frames from one decision to the next")] = 25
    data: DataChoice
    front_end: FrontEndSpec = FrontEndSpec(fmax=USUAL_FMAX)
    network: NetworkChoice = NetworkChoice()
    augmentation: Augmentation = Augmentation()
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        if self.hop_frames > self.window_frames:
            raise EarwitnessError(f"hop_frames is {self.hop_frames}: at most window_frames, {self.window_frames}")
        both = sorted(set(self.data.folds or ()) & set(self.data.test_folds or ()))
        if both:
            raise EarwitnessError(f"data: fold {both[0]} is trained on and judged by; take it out of one")
        if self.training.batch % self.training.draws:
            raise EarwitnessError(
                f"training: batch {self.training.batch} is no multiple of draws {self.training.draws}"
            )

    @property
    def identity(self) -> str:
        """What of it decides the weights, as text."""
        return repr(msgspec.structs.replace(self, description="", licence=""))


def recipe_names() -> list[str]:
    """The names of the recipes of this package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe_named(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in the box of that name; EarwitnessError with the nearest one when there is none. See `recipe_of`."""
    return read_recipe(_path_of(name), changes)


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from a TOML file; its name is the file's where it states none.

    Raises:
        EarwitnessError: no such file, no TOML, or what `recipe_of` refuses; it begins with the path.
    """
    try:
        return recipe_of({"name": path.stem} | _read(path), changes)
    except EarwitnessError as error:
        text = str(error)
        raise EarwitnessError(text if str(path) in text else f"{path}: {text}") from error


def recipe_of(values: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from the tables of a TOML file.

    Args:
        changes: values by dotted key (`training.steps`), in place of those; see `parse_changes`.

    Raises:
        EarwitnessError: an unknown key, with the nearest known one, or a value that cannot be.
    """
    tables = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for key, value in (changes or {}).items():
        table, _, field = key.rpartition(".")
        if not table:
            tables[field] = value
        elif isinstance(inner := tables.setdefault(table, {}), dict):
            inner[field] = value
    _refuse_unknown(tables, Recipe, "")
    front_end = tables.setdefault("front_end", {})
    if front_end.get("sr", 16000) == 16000 and front_end.get("feature") != "waveform":
        tables["front_end"] = {"fmax": USUAL_FMAX} | front_end
    network = tables.get("network", {})
    if isinstance(network, dict):  # its options stand beside `kind`
        kind = network.get("kind", NetworkChoice().kind)
        options = {key: value for key, value in network.items() if key != "kind"}
        _check_options(kind, options)
        tables["network"] = {"kind": kind, "options": options}
    try:
        return msgspec.convert(tables, Recipe)
    except msgspec.ValidationError as error:
        raise EarwitnessError(_readable(str(error))) from error


def to_toml(recipe: Recipe) -> str:
    """The whole recipe as the text of a TOML file, defaults and all: `read_recipe` gives it back."""
    values = msgspec.to_builtins(recipe)
    values["network"] = {"kind": recipe.network.kind, **values["network"]["options"]}
    return values_to_toml(values)


def recipe_for(
    recipe: str | None = None,
    config: Path | None = None,
    network: str | None = None,
    data: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe that a command line asks for: one in the box, one of a file, or the plain one for a network.

    Args:
        recipe: the name of one in the box.
        config: a file.
        network: the kind of network; in place of the recipe's, whose options for another kind are left out then.
        data: the data set; in place of the recipe's.
        changes: see `recipe_of`.

    Raises:
        EarwitnessError: nothing or too much is named, or what is named cannot be.
    """
    from .kinds import plain_recipe

    if recipe and config:
        raise EarwitnessError("train: --recipe and --config each name a whole recipe; take one of them")
    if not (recipe or config or (network and data)):
        names = ", ".join(recipe_names())
        raise EarwitnessError(f"train: name --recipe ({names}), --config FILE, or --network KIND and --data NAME")
    changes = dict(changes or {})
    if data:
        changes["data.name"] = data
    path = _path_of(recipe) if recipe else config
    plain: dict[str, Any] = {"name": f"{Path(data or '').resolve().name}-{network}"} | plain_recipe(network or "")
    values: dict[str, Any] = {"name": path.stem} | _read(path) if path else plain
    if network and network != values.get("network", {}).get("kind", NetworkChoice().kind):
        values["network"] = {"kind": network}
    try:
        return recipe_of(values, changes)
    except EarwitnessError as error:
        raise EarwitnessError(f"{config}: {error}" if config else str(error)) from error


def parse_changes(settings: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` as the command line takes it: keys are dotted, values as TOML writes them, else plain words.

    Raises EarwitnessError where there is no `=`.

    >>> parse_changes(["training.steps=100", "network.channels=[8, 16]", "data.name=esc10"])
    {'training.steps': 100, 'network.channels': [8, 16], 'data.name': 'esc10'}
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise EarwitnessError(f"--set {setting}: it is KEY=VALUE, as in --set training.steps=1000")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = text.strip()
    return changes


def known_keys() -> dict[str, tuple[str, Any]]:
    """Every key of a recipe but the front end's and the network's options: what it means, and its default."""
    keys: dict[str, tuple[str, Any]] = {}
    parts: dict[str, type[msgspec.Struct]] = {"": Recipe, **_tables()}
    for table, part in parts.items():
        if part is FrontEndSpec or table == "network":
            continue
        hints = get_type_hints(part, include_extras=True)
        for field in msgspec.structs.fields(part):
            if not table and field.name in _tables():
                continue
            default = None if field.required else field.default
            keys[f"{table}.{field.name}".lstrip(".")] = (_description(hints[field.name]), default)
    return keys


def _path_of(name: str) -> Path:
    if name not in recipe_names():
        raise EarwitnessError(f"no recipe {name!r}: {nearest(name, recipe_names())}")
    return FOLDER / f"{name}.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EarwitnessError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"{path} is no TOML: {error}") from error


def _tables() -> dict[str, type[msgspec.Struct]]:
    return {
        "data": DataChoice,
        "front_end": FrontEndSpec,
        "network": NetworkChoice,
        "augmentation": Augmentation,
        "training": TrainingSettings,
    }


def _description(hint: Any) -> str:
    """What a key's annotation says, and its choices."""
    choices, texts = _choices(hint), []
    while get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        texts += [note.description for note in notes if isinstance(note, Meta) and note.description]
    return ": ".join(texts) + (f" ({', '.join(choices)})" if choices else "")


def _refuse_unknown(values: Mapping[str, Any], kind: type[msgspec.Struct], table: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    names = list(fields)
    for key, value in values.items():
        place = f"{table}.{key}".lstrip(".")
        if key not in names:
            elsewhere = [known for known in known_keys() if known.rpartition(".")[2] == key]
            hint = f"did you mean {elsewhere[0]!r}?" if elsewhere else nearest(key, names)
            raise EarwitnessError(f"unknown key {place!r}: {hint}")
        choices = _choices(fields[key].type)
        if choices and isinstance(value, str) and value not in choices:
            raise EarwitnessError(f"{place} is {value!r}: {nearest(value, choices)}")
        if not table and key in _tables():
            if not isinstance(value, Mapping):
                raise EarwitnessError(f"{key} is a table: [{key}]")
            if key != "network":
                _refuse_unknown(value, _tables()[key], key)


def _choices(hint: Any) -> tuple[str, ...]:
    """The words that a value may be, where it is one of some; () where it is anything else."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()


def _check_options(kind: Any, options: Mapping[str, Any]) -> None:
    """EarwitnessError when there is no such network, or it has no such option."""
    from .kinds import KINDS, read_kind_options

    if kind not in KINDS:
        raise EarwitnessError(f"no network {kind!r}: {nearest(str(kind), KINDS)}")
    if options:  # with a network's file comes torch
        read_kind_options(kind, options)


def _readable(error: str) -> str:
    """msgspec's `Expected … - at `$.training.steps`` with the key first."""
    text, found, place = error.partition(" - at `$")
    return f"{place.rstrip('`').lstrip('.')}: {text[0].lower()}{text[1:]}" if found else text
