"""The command line: each command parses, calls one function of a room, and prints.

Imports stand inside the functions, so that `--help` is instant and no command loads what it does not need.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
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
    from .stream.report import ledger_lines, style_of

    per_source = {"rate": rate, "channels": channels, "dtype": dtype, "channel": channel}
    settings = _settings(
        config,
        {
            "sources": _with_format(source, {key: value for key, value in per_source.items() if value is not None}),
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
    _print_while_read(lines)
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


models_app = typer.Typer(name="models", help="The models in the box.", no_args_is_help=True)
app.add_typer(models_app)


@models_app.command("list")
def models_list() -> None:
    """What each can hear, and its licence."""
    from .models.catalog import list_lines

    for line in list_lines():
        print(line)


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A name in the box or a folder.")]) -> None:
    """One bundle: licence, window, scores, thresholds."""
    from .models.bundle import find_bundle
    from .models.catalog import show_lines

    for line in show_lines(find_bundle(name)):
        print(line)


@app.command()
def train(
    bundle: Annotated[str, typer.Option(help="The recipe's name, as in models/recipes.py.")] = "esc50-cnn",
    data_root: Annotated[Path | None, typer.Option(help="The folder of the data sets.")] = None,
    out: Annotated[Path, typer.Option(help="The bundle becomes OUT/NAME.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same bundle on one machine.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all where it is left out.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
) -> None:
    """Train a bundle by its recipe; what was interrupted goes on where it was. Needs the extra `train`."""
    import msgspec

    from .models.recipes import recipe_named

    recipe = recipe_named(bundle)
    if steps:
        recipe = msgspec.structs.replace(recipe, steps=steps)
    _needing("train").train_bundle(recipe, out, data_root, seed, device, threads, _log)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A name in the box or a folder.")] = "esc50-cnn",
    data: Annotated[str, typer.Option(help="A data set laid out as ESC-50: its folder's name.")] = "esc50",
    root: Annotated[Path | None, typer.Option(help="The folder of the data sets.")] = None,
    folds: Annotated[list[int] | None, typer.Option(help="The folds to judge by; repeatable. Without it: 4.")] = None,
    licence: Annotated[list[str] | None, typer.Option(help="Only clips under this one; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="All figures as one JSON object.")] = False,
) -> None:
    """Judge a bundle on recordings, through the front end, windows, runtime and detector that run live."""
    import msgspec

    from .models.bundle import find_bundle

    evaluation = _needing("evaluate")
    judgement = evaluation.evaluate_bundle(find_bundle(model), data, root, folds or [4], licence, device)
    print(msgspec.json.encode(judgement).decode() if json else evaluation.report(judgement))


_Features = Annotated[list[str] | None, typer.Option("--feature", help="By name, as --list tells them. Repeatable.")]
_Rate = Annotated[int | None, typer.Option(help="Resample to this many Hz; without it the file's own rate.")]
_Channel = Annotated[int | None, typer.Option(help="Only this channel, 1 is the first; without it their mean.")]
_NFft = Annotated[int | None, typer.Option(help="Samples of the FFT; without it the power of two above 32 ms.")]
_Win = Annotated[int | None, typer.Option(help="Samples under the window; without it --n-fft.")]
_Hop = Annotated[int | None, typer.Option(help="Samples from frame to frame; without it a quarter of the window.")]
_Window = Annotated[str | None, typer.Option(help="hann, hamming, blackman, boxcar or povey.")]
_Center = Annotated[bool | None, typer.Option("--center/--no-center", help="Frames around their time, as librosa.")]
_Power = Annotated[float | None, typer.Option(help="Of the magnitudes under the mel filters: 2, or 1.")]
_NMels = Annotated[int | None, typer.Option(help="Mel bands; without it 64, or as many as fit.")]
_FMin = Annotated[float | None, typer.Option(help="Where the mel bands begin, Hz; without it 0.")]
_FMax = Annotated[float | None, typer.Option(help="Where they end, Hz; without it half of the rate.")]
_Htk = Annotated[bool | None, typer.Option("--htk/--slaney", help="The mel scale.")]
_Set = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE: any other option of the front end. Repeatable.")
]


@app.command()
def features(
    file: Annotated[list[str] | None, typer.Argument(help="WAV, FLAC, OGG or MP3; `demo` is the demo scene.")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="A name in .npz, .csv or .parquet; {} in it stands for the FILE's name. "
                     "FOLDER/ is short for FOLDER/{}.npz."),
    ] = None,
    feature: _Features = None,
    list_: Annotated[bool, typer.Option("--list", help="What there is, with unit and meaning, and leave.")] = False,
    rate: _Rate = None,
    channel: _Channel = None,
    n_fft: _NFft = None,
    win_length: _Win = None,
    hop_length: _Hop = None,
    window: _Window = None,
    center: _Center = None,
    power: _Power = None,
    n_mels: _NMels = None,
    fmin: _FMin = None,
    fmax: _FMax = None,
    htk: _Htk = None,
    set_: _Set = None,
) -> None:  # fmt: skip
    """Features of recordings as numbers, frame by frame: the same that a live run computes."""
    _one_thread()
    from .stream.errors import EarwitnessError
    from .stream.feature_files import outputs, write_features
    from .stream.feature_options import feature_lines, parse_settings, spec_for
    from .stream.sources.recording import Recording

    if list_:
        _print_while_read(feature_lines())
        return
    if not file or not feature or out is None:
        missing = "FILE" if not file else "--feature NAME (--list tells them)" if not feature else "-o OUT.npz"
        raise EarwitnessError(f"features: {missing} is missing, as in: features dog.wav -o dog.npz --feature log_mel")
    options = parse_settings(set_ or ()) | _given(
        n_fft=n_fft, win_length=win_length, hop_length=hop_length, window=window, center=center, power=power,
        n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk,
    )  # fmt: skip
    for name, path in zip(file, outputs(file, out), strict=True):
        with Recording(name, rate, channel) as recording:
            spec = spec_for(recording.rate, feature, options)
            with _progress(recording.name) as progress:
                written = write_features(recording, spec, path, progress)
            _note_on(recording)
            if not written.frames:
                _log(f"{name}: too short for a frame of {spec.frame_length} samples at {spec.sr} Hz: {path} has none")


@app.command()
def plot(
    file: Annotated[str, typer.Argument(help="WAV, FLAC, OGG or MP3; `demo` is the demo scene.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture, a name in .png.")],
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="Rows, from the top: waveform, spectrum, descriptors, level, or a feature "
                     "as `earwitness features --list` tells them. Repeatable. Without it the usual ones."),
    ] = None,
    rate: _Rate = None,
    channel: _Channel = None,
    n_fft: _NFft = None,
    win_length: _Win = None,
    hop_length: _Hop = None,
    window: _Window = None,
    center: _Center = None,
    power: _Power = None,
    n_mels: _NMels = None,
    fmin: _FMin = None,
    fmax: _FMax = None,
    htk: _Htk = None,
    set_: _Set = None,
) -> None:  # fmt: skip
    """A picture of a recording: waveform, spectra, descriptors and level over time. Needs matplotlib."""
    _one_thread()
    from .stream.feature_options import parse_settings
    from .stream.plot import write_plot
    from .stream.sources.recording import Recording

    options = parse_settings(set_ or ()) | _given(
        n_fft=n_fft, win_length=win_length, hop_length=hop_length, window=window, center=center, power=power,
        n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk,
    )  # fmt: skip
    with Recording(file, rate, channel) as recording:
        with _progress(recording.name) as progress:
            write_plot(recording, out, feature or (), options, progress)
        _note_on(recording)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A look: three minutes instead of fifteen.")] = False,
    minutes: Annotated[float, typer.Option(help="Watch memory for so long, too.")] = 0.0,
    page: Annotated[Path | None, typer.Option(help="A Markdown page to write the tables into.")] = None,
    only: Annotated[str | None, typer.Option(help="program or front-end: this part alone.")] = None,
) -> None:
    """Delay by stage, speed, streams at once, memory and CPU, and the front end beside others, on this machine."""
    from .stream import bench as measure
    from .stream.errors import EarwitnessError, nearest

    parts = ("program", "front-end")
    if only is not None and only not in parts:
        raise EarwitnessError(f"bench: unknown part {only!r}; {nearest(only, parts)}")
    if only != "front-end":
        lines = measure.bench(print, quick, minutes)
        if page is not None:
            measure.write_page(page, lines)
    if only != "program":
        from .models.bench_frontend import bench_front_end

        lines = bench_front_end(print, quick)
        if page is not None:
            measure.write_page(page, lines, measure.FRONT_END)


def main() -> None:
    """The entry point of `earwitness` and of `python launch.py`: exits with 0, 1 or 2 as docs/reference says."""
    from .stream.errors import EarwitnessError

    usage_error: Any = typer.BadParameter.__bases__[0]  # click's UsageError, wherever typer keeps it
    _open_what_is_closed()
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


def _needing(name: str) -> Any:
    """A module of `models/` that may need more than the live pipeline does. Raises EarwitnessError."""
    from importlib import import_module

    from .stream.errors import EarwitnessError

    try:
        return import_module(f"{__package__}.models.{name}")
    except ModuleNotFoundError as error:
        raise EarwitnessError(f"{name} needs {error.name}: pip install 'earwitness[train]'") from None


def _one_thread() -> None:
    """As in a node: on products as small as a front end's, BLAS's threads wait for each other longer than they work."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None] | None]:
    """A line on a terminal that tells how far it is, and goes when it is done; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        if int(100 * share) != told:
            told = int(100 * share)
            print(f"\r{what}: {told} %", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _note_on(recording: Any) -> None:
    """What is to be known of a recording that was read, on standard error."""
    if recording.warning:
        _log(recording.warning)
    if recording.replaced:
        _log(f"{recording.name}: {recording.replaced} samples are no sound (NaN, Inf): they count as silence")


def _open_what_is_closed() -> None:
    """Where a standard stream was closed (`<&-`, some daemons), no socket may take its number, nor print fail."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(fd, True)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115


def _print_while_read(lines: list[str]) -> None:
    """Prints lines; when nobody reads any more, as behind `| head`, the rest is nobody's loss."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError:  # a closed pipe, a terminal that hung up, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more when it ends


def _settings(path: Path | None, options: dict[str, Any]) -> Any:
    from .stream.config import load_config

    return load_config(path, options)


def _with_format(sources: list[str] | None, options: dict[str, Any]) -> list[Any] | None:
    """The sources of the command line, with the options that are told for all of them."""
    from .stream.config import parse_source
    from .stream.errors import EarwitnessError

    if not options:
        return list(sources) if sources else None
    if not sources:
        raise EarwitnessError(f"--{next(iter(options))} belongs to --source, and there is none")
    named = [parse_source(text) for text in sources]
    return [{"source": one.source, "name": one.name, **options} for one in named]


def _ready_to_run(settings: Any) -> Any:
    """Settles what was left open and finds what a person has to mend, before any process is started."""
    import msgspec

    from .models.bundle import find_bundle
    from .stream.durable import check_writable
    from .stream.errors import EarwitnessError, nearest
    from .stream.sources.source import check_source, source_specs

    if settings.only and "broker" not in settings.only and not settings.bus.address:
        raise EarwitnessError("only: the broker is on another host then; tell where, as in --bus tcp://HOST:PORT")
    listens = not settings.only or "capture" in settings.only
    sources = settings.source_settings
    if listens and not sources:
        sources = (_default_source(),)
    specs = source_specs(sources) if listens else []
    for spec in specs:
        warning = check_source(spec)
        if warning:
            _log(warning)
    named = tuple(
        msgspec.structs.replace(one, name=spec.name) for one, spec in zip(sources, specs, strict=False)
    )
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
    return msgspec.structs.replace(settings, sources=named, models=tuple(models), out=out)


def _default_source() -> Any:
    """The microphone, where there is one; else the demo, and says so."""
    from .stream.config import SourceSettings
    from .stream.errors import EarwitnessError

    try:
        from .stream.sources.devices import list_devices

        found = list_devices()
    except EarwitnessError as error:
        _log(f"{error}")
        found = []
    if found:
        return SourceSettings(source="mic")
    _log("no microphone here: playing the demo scene (`earwitness doctor` tells more)")
    return SourceSettings(source="demo")


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more: no reason to stop listening
        print(f"earwitness: {line}", file=sys.stderr, flush=True)


def _hand_over() -> None:
    """As a script this file is a second module of the same name: the one in the package does the work."""
    from earwitness.launch import main as packaged_main

    packaged_main()


if __name__ == "__main__":
    _hand_over()
