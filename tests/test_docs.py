"""The documentation says what the program does: generated pages are fresh, keys and options are all told, links lead
somewhere.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
import typer

from earwitness import launch
from earwitness.models import bundle
from earwitness.stream import clip_table, clips, config, detect_settings, messages
from earwitness.stream.features import spec

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])


def test_the_page_of_messages_is_what_the_table_generates() -> None:
    page = DOCS / "reference" / "messages.md"
    assert page.read_text() == messages.reference_page(), (
        "stale: python -m earwitness.stream.messages > docs/reference/messages.md"
    )


def test_the_page_of_the_config_tells_every_key_with_its_default_and_no_other() -> None:
    told = dict(re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \|", _page("config.md"), re.MULTILINE))
    expected = {key: _toml(default) for key, default in _keys()}
    assert told == expected


def test_the_page_of_clips_tells_every_key_of_their_json_and_every_column_of_their_table() -> None:
    page = _page("events-and-clips.md")
    assert _untold(page, clips.ClipRecord.__struct_fields__) == []
    assert _untold(page, clip_table.COLUMNS) == []


def test_the_page_of_bundles_tells_every_key_of_a_manifest() -> None:
    structs = (bundle.Manifest, bundle.Input, bundle.Output, bundle.Constant, bundle.State, bundle.Network)
    for struct in (*structs, bundle.Training, bundle.FileEntry, spec.FrontEndSpec):
        assert _untold(_page("bundles.md"), struct.__struct_fields__) == []


def test_the_page_of_the_command_line_tells_every_command_with_its_options_and_no_other() -> None:
    sections = re.findall(r"^## ([a-z ]+)\n(.*?)(?=^## |\Z)", _page("command-line.md"), re.MULTILINE | re.DOTALL)
    told = {name: set(re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)) for name, text in sections}
    options = {name: set(re.findall(r"`(--?[a-z0-9-]+)`", " ".join(cells))) for name, cells in told.items()}
    assert options == dict(_commands(launch.app))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_that_a_page_shows_exist(page: Path) -> None:
    commands = dict(_commands(launch.app))
    shown = re.findall(r"(?:^|[`|/ ])earwitness ([a-z][^`|#\n]*)", _with_lines_joined(page.read_text()), re.MULTILINE)
    for text in shown:
        name = next((name for name in commands if f"{text} ".startswith(f"{name} ")), None)
        assert name is not None, text
        unknown = set(re.findall(r"(?<=\s)--[a-z0-9-]+", text)) - commands[name] - {"--help"}
        assert not unknown, text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    local = [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())
        todo += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) <= seen


def _page(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def _untold(page: str, names: Iterable[str]) -> list[str]:
    """The names that stand in no code span of the page."""
    told = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`]*)`", page))))
    return [name for name in names if name not in told]


def _with_lines_joined(text: str) -> str:
    return re.sub(r"\\\n\s*", "", text)


def _commands(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command, those of groups as `models list`, with the spellings of its options."""
    for command in app.registered_commands:
        function = command.callback
        assert function is not None
        options: set[str] = set()
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            (told,) = parameter.annotation.__metadata__
            if type(told).__name__ == "OptionInfo":
                # inside Annotated, what Option takes as its default is the first spelling
                spellings = [text for text in (told.default, *(told.param_decls or ())) if isinstance(text, str)]
                options |= set("/".join(spellings or [f"--{name.replace('_', '-')}"]).split("/"))
        yield prefix + (command.name or function.__name__), options
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{prefix}{group.name or group.typer_instance.info.name} ")


def _keys(kind: type[msgspec.Struct] = config.Config, prefix: str = "") -> list[tuple[str, object]]:
    """(dotted key, default) of a run's settings; `sources[]` and `models[]` stand for one of the list."""
    lists = {"sources": config.SourceSettings, "models": config.ModelSettings}
    found: list[tuple[str, object]] = []
    for field in msgspec.structs.fields(kind):
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if prefix == "" and field.name == "detect":
            default = detect_settings.DetectSettings()  # its fields by name, in place of the bundle's
        if isinstance(default, msgspec.Struct):
            found += _keys(type(default), f"{prefix}{field.name}.")
            continue
        found.append((prefix + field.name, default))
        if prefix == "" and field.name in lists:
            found += _keys(lists[field.name], f"{field.name}[].")
    return found


def _toml(value: object) -> str:
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, (tuple, list)):
        return "`[" + ", ".join(_toml(each).strip("`") for each in value) + "]`"
    if isinstance(value, dict):
        return "`{}`"
    return f"`{value}`"
