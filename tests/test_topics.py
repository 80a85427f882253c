"""Law 3: every topic is declared once, with one kind of publisher and at least one subscriber; no pickle anywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from earwitness.stream import config, messages

ROOT = Path(__file__).resolve().parent.parent
NODE_FILES = sorted((ROOT / "nodes").glob("*.py"))
SOURCES = [path for room in ("stream", "models", "nodes") for path in (ROOT / room).rglob("*.py")]


@pytest.mark.parametrize("topic", messages.TOPICS, ids=lambda topic: topic.name)
def test_a_topic_has_one_publisher_and_a_subscriber(topic: messages.Topic) -> None:
    assert topic.publisher in (*config.NODES, "any node")
    assert topic.subscribers
    assert set(topic.subscribers) <= set(config.NODES)
    assert topic.channel in messages.CHANNELS


def test_no_topic_is_declared_twice_and_no_kind_means_two_things() -> None:
    names = [topic.name for topic in messages.TOPICS]
    assert len(set(names)) == len(names)
    kinds: dict[str, type[messages.Message]] = {}
    for topic in messages.TOPICS:
        for message in topic.messages:
            assert kinds.setdefault(message.__struct_config__.tag, message) is message


@pytest.mark.parametrize("path", NODE_FILES, ids=lambda path: path.name)
def test_a_node_publishes_only_what_the_table_gives_it(path: Path) -> None:
    tree = ast.parse(path.read_text())
    listening = {inner for node in ast.walk(tree) if _listens(node) for inner in ast.walk(node)}
    for node in set(ast.walk(tree)) - listening:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "topic_of":
            (name, *_) = [argument.value for argument in node.args if isinstance(argument, ast.Constant)] or [None]
            if name is not None:
                publisher = messages.BY_NAME[name].publisher
                assert publisher in (path.stem, "any node"), f"line {node.lineno}: {name} is {publisher}'s"


def _listens(node: ast.AST) -> bool:
    """What a node subscribes to, and what it hands to itself as if it had heard it, it does not publish."""
    subscribes = isinstance(node, ast.FunctionDef) and node.name in ("subscriptions", "followed")
    return subscribes or (isinstance(node, ast.Call) and ast.unparse(node.func) == "Envelope")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_pickled(path: Path) -> None:
    text = path.read_text()
    assert "import pickle" not in text
    assert "send_pyobj" not in text
    assert "allow_pickle=True" not in text
