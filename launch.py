"""The command line: each command parses, calls one function of a room, and prints.

Imports stand inside the functions, so that `--help` is instant and no command loads what it does not need.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="earwitness",
    help="Listens: says what it heard, when and how sure it is, and keeps the sound as evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"earwitness {installed('earwitness')}")
        raise typer.Exit


@app.command()
def run(
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="What to listen to: mic, mic:ID, a file, -, rtsp://…, http://…, demo; "
                     "NAME=SOURCE names the stream. Repeatable. Without it: the microphone, else the demo."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A bundle in the box or a folder. Repeatable.")
    ] = None,
    pace: Annotated[str | None, typer.Option(help="real: files as they would sound. max: as fast as it goes.")] = None,
    out: Annotated[str | None, typer.Option(help="Where clips go.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; every option here has its key there.")] = None,
    json: Annotated[bool | None, typer.Option("--json", help="Events as JSON Lines, on a terminal too.")] = None,
    clips: Annotated[bool | None, typer.Option("--clips/--no-clips", help="Keep the sound of events.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only these nodes here, the others on another host: broker, capture, features, classify, "
                     "recorder, monitor. Repeatable, or separated by commas."),
    ] = None,
    bus: Annotated[str | None, typer.Option(help="Where the broker is: tcp://HOST:PORT or ipc://FOLDER.")] = None,
    keys: Annotated[str | None, typer.Option(help="The folder that `earwitness keys` made; needed for tcp.")] = None,
    block: Annotated[
        float | None, typer.Option(help="Seconds of sound in a block; results do not depend on it.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that compute features, each of a share of the streams; 1.")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Of raw sound on standard input, Hz.")] = None,
    channels: Annotated[int | None, typer.Option(help="Of raw sound on standard input.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Of raw sound on standard input: int16, int32, float32, …")] = None,
    channel: Annotated[
        int | None, typer.Option(help="Keep only this channel, 1 is the first; 0: all, mixed for the model.")
    ] = None,
) -> None:
    """Listen, until the sources end or Ctrl-C."""
    from .nodes.supervisor import supervise
    from .stream.config import load_config, sources_with
    from .stream.report import ledger_lines, style_of
    from .stream.standard_streams import print_while_read

    per_source = {"rate": rate, "channels": channels, "dtype": dtype, "channel": channel}
    settings = load_config(
        config,
        {
            "sources": sources_with(source, {key: value for key, value in per_source.items() if value is not None}),
            "models": model, "pace": pace, "out": out, "device": device, "json": json, "clips": clips,
            "only": [name for names in only for name in names.split(",")] if only else None,
            "bus.address": bus, "bus.keys": keys, "block_s": block, "workers": workers,
        },
    )  # fmt: skip
    settings = _ready_to_run(settings)
    style = style_of(settings.json, sys.stdout.isatty(), os.environ.get("TERM", ""))
    # Lines of a log would disturb what the monitor draws; it shows the alarms itself.
    outcome = supervise(settings, (lambda line: None) if style == "screen" else _log)
    lines, balanced = ledger_lines(outcome.ledger, as_json=style == "json")
    print_while_read(lines)
    if outcome.reason:
        _log(outcome.reason)
    if not balanced and not outcome.code:
        _log("the ledger does not balance: see the line above")
    raise typer.Exit(outcome.code or (0 if balanced else 1))


@app.command()
def devices() -> None:
    """The microphones that can be listened to here, as `--source` takes them."""
    from .stream.sources.devices import list_devices

    found = list_devices()
    for device in found:
        default = ", the default" if device.is_default else ""
        print(f"mic:{device.id}\n    {device.name}, {device.channels} channels, {device.default_rate} Hz{default}")
    if not found:
        _log("no microphone here; `earwitness doctor` tells why")


@app.command()
def doctor(
    out: Annotated[Path, typer.Option(help="Where clips are to go.")] = Path("earwitness-out"),
) -> None:
    """What is missing here, and the command that mends it. Exit 1 when a run would fail."""
    from .stream.doctor import diagnose

    findings = diagnose(out)
    for finding in findings:
        print(finding)
    raise typer.Exit(1 if any(finding.level == "bad" for finding in findings) else 0)


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="Where they go; new clients are added to what is there.")],
    client: Annotated[list[str] | None, typer.Option(help="A host that is to connect. Repeatable.")] = None,
) -> None:
    """Keys for a run on several hosts: a folder for the broker's host and one for each client's."""
    from .stream.keys import make_keys

    for name, made in make_keys(folder, client or ()).items():
        print(f"{made}: belongs on the host {name!r} and nowhere else; name it there with --keys")


models_app = typer.Typer(name="models", help="The models in the box, and those of others.", no_args_is_help=True)
app.add_typer(models_app)


@models_app.command("list")
def models_list() -> None:
    """What each can hear, and its licence."""
    from .models.catalog import list_lines

    for line in list_lines():
        print(line)


@models_app.command("add")
def models_add(
    model: Annotated[
        str,
        typer.Argument(help="A .onnx or .tflite file, a folder of transformers, or by name: yamnet, yamnet-patches."),
    ],
    manifest: Annotated[Path | None, typer.Option(help="What the file takes and gives; see docs/how-to.")] = None,
    name: Annotated[str | None, typer.Option(help="The bundle's name, in place of the manifest's.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder that it goes to, instead of the user's own.")] = None,
    file: Annotated[Path | None, typer.Option(help="Of a known model: the file, where it is here already.")] = None,
) -> None:
    """Make a bundle of a model of others. It is checked and tried first; nothing of it is installed if that fails."""
    from .models.foreign.add import add_model
    from .models.foreign.known_models import KNOWN, add_known
    from .stream.errors import EarwitnessError, nearest

    if model in KNOWN:
        if manifest is not None:
            raise EarwitnessError(f"{model} is known: it has its manifest already; leave --manifest out")
        added = add_known(model, file, name, out)
    elif file is not None or (manifest is None and not Path(model).is_dir()):
        hint = nearest(model, KNOWN) if not Path(model).suffix else "a file needs --manifest M.toml"
        raise EarwitnessError(f"models add {model}: {hint}")
    else:
        added = add_model(Path(model), manifest, name, out)
    for remark in added.remarks:
        _log(remark)
    bundle = added.bundle
    print(f"{bundle.tag}  {bundle.path}")
    _log(f"now: earwitness run --model {bundle.manifest.name if out is None else bundle.path}")


@models_app.command("remove")
def models_remove(name: Annotated[str, typer.Argument(help="Of a model that was added.")]) -> None:
    """Delete a model that `models add` installed."""
    from .models.bundle import remove_bundle

    print(f"removed {remove_bundle(name)}")


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A name in the box or a folder.")]) -> None:
    """One bundle: licence, window, scores, thresholds."""
    from .models.bundle import find_bundle
    from .models.catalog import show_lines

    for line in show_lines(find_bundle(name)):
        print(line)


class _TrainCommand(typer.core.TyperCommand):
    """`train`, whose help ends with the keys of a recipe, those of the network that is named among them."""

    _network: str | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for option, value in zip(args, [*args[1:], None], strict=True):
            if option == "--network" or option.startswith("--network="):
                self._network = option.partition("=")[2] or value
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from .stream.standard_streams import print_while_read

        super().format_help(ctx, formatter)
        print_while_read(_needing("training.recipe_help", "train").help_lines(self._network))


@app.command(cls=_TrainCommand)
def train(
    recipe: Annotated[
        str | None, typer.Option("--recipe", "--bundle", help="One in the box: the name of a file in models/recipes.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A recipe of your own: a TOML file.")] = None,
    network: Annotated[
        str | None, typer.Option(help="The kind of network; with --data and nothing else, a plain recipe for it.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The data set, in place of the recipe's: esc50, esc10, folder, a path, …")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", "--data-root", help="The folder of the data sets; $EARWITNESS_DATA.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The bundle becomes OUT/NAME.")] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE in place of the recipe's, as below. Repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same bundle on one machine.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all where it is left out.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="A folder for what TensorBoard shows of the run; it goes to FOLDER/NAME.")
    ] = None,
) -> None:
    """Train a bundle; what was interrupted goes on where it was. Needs the extra `train`.

    --recipe NAME, or --config FILE, or --network KIND and --data NAME. `train --network KIND --help` shows its options.
    """
    from .models.training.progress import Lines, on_terminal
    from .models.training.recipe import parse_changes, recipe_for

    changes = parse_changes(set_ or ())
    trainer = _needing("train")
    chosen = recipe_for(recipe, config, network, data, changes)
    with on_terminal() if sys.stderr.isatty() else contextlib.nullcontext(Lines(_log)) as reporter:
        trainer.train_bundle(chosen, out, root, seed, device, threads, reporter=reporter, board=tensorboard)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A name in the box or a folder.")] = "esc50-cnn",
    data: Annotated[str | None, typer.Option(help="As `data list` tells them, or a folder; esc50.")] = None,
    root: Annotated[Path | None, typer.Option(help="The folder of the data sets; $EARWITNESS_DATA.")] = None,
    folds: Annotated[
        list[str] | None, typer.Option(help="Judged by these, as 4 or 1,2. Without it: those not trained on.")
    ] = None,
    licence: Annotated[list[str] | None, typer.Option(help="Only clips under this one; repeatable.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; judged on the CPU, trained on what there is.")
    ] = None,
    label_map: Annotated[
        str | None, typer.Option(help="For a model of other class names: one in the box, or a TOML file.")
    ] = None,
    per_window: Annotated[bool, typer.Option("--per-window", help="Judge single windows, not clips.")] = False,
    backgrounds: Annotated[bool, typer.Option("--backgrounds", help="False alarms an hour, too.")] = False,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two models instead of --model, by a paired test.")
    ] = None,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Train and judge by all folds: --recipe, --config or --network.")
    ] = False,
    recipe: Annotated[str | None, typer.Option(help="What to cross-validate; see `train`.")] = None,
    config: Annotated[Path | None, typer.Option(help="The same, a TOML file.")] = None,
    network: Annotated[str | None, typer.Option(help="The same, a kind of network.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe. Repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often it is trained on each fold.")] = 1,
    out: Annotated[Path, typer.Option(help="What is trained goes there.")] = Path("runs"),
    threads: Annotated[int | None, typer.Option(help="CPU threads to train with.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page with pictures.")] = None,
    json: Annotated[bool, typer.Option("--json", help="All figures as one JSON object.")] = False,
) -> None:
    """Judge a model on recordings, through the front end, windows, runtime and detector that run live."""
    import msgspec

    judging = _needing("judging.command", "evaluate")
    request = judging.Request(
        model=model, data=data, root=root, folds=folds or (), licence=licence or (), device=device,
        label_map=label_map, per_window=per_window, backgrounds=backgrounds, page=report, compare=compare,
        cross_validate=cross_validate, recipe=recipe, config=config, network=network, changes=set_ or (),
        seeds=seeds, out=out, threads=threads,
    )  # fmt: skip
    found, text = judging.answer(request, _log)
    print(msgspec.json.encode(found).decode() if json else text)


@app.command()
def export(
    model: Annotated[str, typer.Option("--model", "-m", help="A name in the box or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that it goes to.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="A bundle in 8-bit integers, NAME-int8, in place of the ONNX file.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="For --int8: sounds to find its ranges by; without it those it learnt from.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The folder of the data sets; $EARWITNESS_DATA.")] = None,
) -> None:
    """A bundle's model as one ONNX file, or the bundle in 8-bit integers. Needs the extra `train`."""
    from .models.bundle import find_bundle

    bundle = find_bundle(model)
    if int8:
        quantising = _needing("quantise", "export")
        print(quantising.write_int8(bundle, out, data, root, _log).path)
    else:
        print(_needing("single_file", "export").write_single_file(bundle, out))


data_app = typer.Typer(name="data", help="Data sets to train on and to judge by.", no_args_is_help=True)
app.add_typer(data_app)

_DataSet = Annotated[str, typer.Argument(help="A name that `data list` tells, or a folder.")]
_DataRoot = Annotated[Path | None, typer.Option(help="The folder of the data sets; $EARWITNESS_DATA.")]


@data_app.command("list")
def data_list(root: _DataRoot = None) -> None:
    """Which there are, and which of them are here."""
    from .models.data.check import list_lines
    from .stream.standard_streams import print_while_read

    print_while_read(list_lines(root))


@data_app.command("get")
def data_get(
    name: _DataSet,
    root: _DataRoot = None,
    archive: Annotated[
        Path | None, typer.Option(help="The data set's file as its makers publish it, loaded elsewhere.")
    ] = None,
) -> None:
    """Load a data set from its makers' address; what was interrupted goes on where it was."""
    from .models.data.get import get_dataset
    from .stream.standard_streams import progress_of

    with progress_of(name) as progress:
        get_dataset(name, root, _log, progress, archive)


@data_app.command("check")
def data_check(name: _DataSet, root: _DataRoot = None) -> None:
    """Read every file of a data set: what it holds, and what is wrong with it. Exit 1 where a file is broken."""
    from .models.data.check import check_dataset, check_lines
    from .stream.standard_streams import print_while_read, progress_of

    with progress_of(name) as progress:
        check = check_dataset(name, root, progress)
    print_while_read(check_lines(check))
    raise typer.Exit(1 if check.broken else 0)


_Rate = Annotated[int | None, typer.Option(help="Resample to this many Hz; without it the file's own rate.")]
_Channel = Annotated[int | None, typer.Option(help="Only this channel, 1 is the first; without it their mean.")]
_FRONT_END: dict[str, Any] = {
    "n_fft": Annotated[int | None, typer.Option(help="Samples of the FFT; without it the power of two above 32 ms.")],
    "win_length": Annotated[int | None, typer.Option(help="Samples under the window; without it --n-fft.")],
    "hop_length": Annotated[
        int | None, typer.Option(help="Samples from frame to frame; without it a quarter of the window.")
    ],
    "window": Annotated[str | None, typer.Option(help="hann, hamming, blackman, boxcar or povey.")],
    "center": Annotated[
        bool | None, typer.Option("--center/--no-center", help="Frames around their time, as librosa.")
    ],
    "power": Annotated[float | None, typer.Option(help="Of the magnitudes under the mel filters: 2, or 1.")],
    "n_mels": Annotated[int | None, typer.Option(help="Mel bands; without it 64, or as many as fit.")],
    "fmin": Annotated[float | None, typer.Option(help="Where the mel bands begin, Hz; without it 0.")],
    "fmax": Annotated[float | None, typer.Option(help="Where they end, Hz; without it half of the rate.")],
    "htk": Annotated[bool | None, typer.Option("--htk/--slaney", help="The mel scale.")],
    "set": Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: any other option of the front end. Repeatable.")
    ],
}  # fmt: skip


def _with_front_end(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a front end; it gets what was said of them as `options`."""

    def called(**given: Any) -> None:
        _one_thread()
        from .stream.feature_options import parse_settings

        said = {name: value for name in _FRONT_END if (value := given.pop(name)) is not None}
        command(**given, options=parse_settings(said.pop("set", ())) | said)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _FRONT_END.items()
    ]
    called.__signature__ = signature.replace(parameters=own + more)  # type: ignore[attr-defined]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


@app.command()
@_with_front_end
def features(
    options: dict[str, Any],
    file: Annotated[list[str] | None, typer.Argument(help="WAV, FLAC, OGG or MP3; `demo` is the demo scene.")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="A name in .npz, .csv or .parquet; {} in it stands for the FILE's name. "
                     "FOLDER/ is short for FOLDER/{}.npz."),
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="By name, as --list tells them. Repeatable.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="What there is, with unit and meaning, and leave.")] = False,
    rate: _Rate = None,
    channel: _Channel = None,
) -> None:  # fmt: skip
    """Features of recordings as numbers, frame by frame: the same that a live run computes."""
    from .stream.errors import EarwitnessError
    from .stream.feature_files import features_of_file, outputs
    from .stream.feature_options import feature_lines
    from .stream.standard_streams import print_while_read, progress_of

    if list_:
        print_while_read(feature_lines())
        return
    if not file or not feature or not out:
        missing = "FILE" if not file else "--feature NAME (--list tells them)" if not feature else "-o OUT.npz"
        raise EarwitnessError(f"features: {missing} is missing, as in: features dog.wav -o dog.npz --feature log_mel")
    for name, path in zip(file, outputs(file, out), strict=True):
        with progress_of(name) as progress:
            notes = features_of_file(name, path, feature, options, rate, channel, progress)
        for note in notes:
            _log(note)


@app.command()
@_with_front_end
def plot(
    options: dict[str, Any],
    file: Annotated[str, typer.Argument(help="WAV, FLAC, OGG or MP3; `demo` is the demo scene.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture, a name in .png.")],
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="Rows, from the top: waveform, spectrum, descriptors, level, or a feature "
                     "as `earwitness features --list` tells them. Repeatable. Without it the usual ones."),
    ] = None,
    rate: _Rate = None,
    channel: _Channel = None,
) -> None:  # fmt: skip
    """A picture of a recording: waveform, spectra, descriptors and level over time. Needs matplotlib."""
    from .stream.plot import plot_of_file
    from .stream.standard_streams import progress_of

    with progress_of(file) as progress:
        notes = plot_of_file(file, out, feature or (), options, rate, channel, progress)
    for note in notes:
        _log(note)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A look: five minutes instead of twenty.")] = False,
    minutes: Annotated[float, typer.Option(help="Watch memory for so long, too.")] = 0.0,
    page: Annotated[Path | None, typer.Option(help="A Markdown page to write the tables into.")] = None,
    only: Annotated[str | None, typer.Option(help="program, front-end or models: this part alone.")] = None,
) -> None:
    """Delay by stage, speed, streams at once, memory and CPU; front end and models beside others; on this machine."""
    from .stream import bench as measure
    from .stream.errors import EarwitnessError, nearest

    parts = ("program", "front-end", "models")
    if only is not None and only not in parts:
        raise EarwitnessError(f"bench: unknown part {only!r}; {nearest(only, parts)}")
    if only in (None, "program"):
        lines = measure.bench(print, quick, minutes)
        if page is not None:
            measure.write_page(page, lines)
    if only in (None, "front-end"):
        from .models.bench.frontend import bench_front_end

        lines = bench_front_end(print, quick)
        if page is not None:
            measure.write_page(page, lines, measure.FRONT_END)
    if only in (None, "models"):
        lines = _needing("bench.models", "bench").bench_models(print, quick)
        if page is not None:
            measure.write_page(page, lines, measure.MODELS)


def main() -> None:
    """The entry point of `earwitness` and of `python launch.py`: exits with 0, 1 or 2 as docs/reference says."""
    from .stream.errors import EarwitnessError
    from .stream.standard_streams import open_what_is_closed

    usage_error: Any = typer.BadParameter.__bases__[0]  # click's UsageError, wherever typer keeps it
    open_what_is_closed()
    try:
        code = app(standalone_mode=False)
    except EarwitnessError as error:
        _log(str(error))
        code = 2
    except usage_error as error:
        if "NoArgs" in type(error).__name__:
            error.show()  # a group without a command: its help
        else:
            _log(" ".join(error.format_message().split()))
        code = 2
    except typer.Abort:
        code = 1
    sys.exit(code)


def _needing(name: str, command: str | None = None) -> Any:
    """A module of `models/` that may need more than the live pipeline does. Raises EarwitnessError."""
    from importlib import import_module

    from .stream.errors import EarwitnessError

    try:
        return import_module(f"{__package__}.models.{name}")
    except ModuleNotFoundError as error:
        raise EarwitnessError(f"{command or name} needs {error.name}: pip install 'earwitness[train]'") from None


def _one_thread() -> None:
    """As in a node: on products as small as a front end's, BLAS's threads wait for each other longer than they work."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def _ready_to_run(settings: Any) -> Any:
    """Settles what was left open and finds what a person has to mend, before any process is started."""
    import msgspec

    from .models.bundle import find_bundle
    from .stream.durable import check_writable
    from .stream.errors import EarwitnessError, nearest
    from .stream.sources.devices import default_source
    from .stream.sources.source import checked_sources

    if settings.only and "broker" not in settings.only and not settings.bus.address:
        raise EarwitnessError("only: the broker is on another host then; tell where, as in --bus tcp://HOST:PORT")
    listens = not settings.only or "capture" in settings.only
    sources = settings.source_settings
    if listens and not sources:
        sources = (default_source(_log),)
    sources = checked_sources(sources, _log) if listens else ()
    models, tags = [], set()
    for model in settings.model_settings:
        bundle = find_bundle(model.bundle)
        for label in model.thresholds:
            if label not in bundle.manifest.thresholds:
                raise EarwitnessError(
                    f"model {bundle.manifest.name} has no event {label!r}: {nearest(label, bundle.manifest.thresholds)}"
                )
        _log(f"model {bundle.tag}: {len(bundle.manifest.thresholds)} sounds; licence: {bundle.manifest.licence}")
        if bundle.tag in tags:
            raise EarwitnessError(f"the model {bundle.tag} was given twice: once is enough for all streams")
        tags.add(bundle.tag)
        models.append(msgspec.structs.replace(model, bundle=str(bundle.path.resolve())))
    out = str(Path(settings.out).expanduser().resolve())
    if settings.clips and (not settings.only or "recorder" in settings.only):
        check_writable(Path(out) / "clips")
    return msgspec.structs.replace(settings, sources=sources, models=tuple(models), out=out)


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more: no reason to stop listening
        print(f"earwitness: {line}", file=sys.stderr, flush=True)


def _hand_over() -> None:
    """As a script this file is a second module of the same name: the one in the package does the work."""
    from earwitness.launch import main as packaged_main

    packaged_main()


if __name__ == "__main__":
    _hand_over()
