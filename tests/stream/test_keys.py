"""Keys on disk: made for each host, readable by nobody else, refused in one clear line when they are not right."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.keys import load_keys, make_keys


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Path]:
    return make_keys(tmp_path / "keys", ["board", "attic"])


def test_each_host_has_a_folder_and_they_fit_together(made: dict[str, Path]) -> None:
    assert sorted(made) == ["attic", "board", "broker"]
    broker, board, attic = (load_keys(made[host]) for host in ("broker", "board", "attic"))
    assert broker.server_secret is not None
    assert zmq.curve_public(broker.server_secret) == broker.server_public == board.server_public
    assert broker.clients == {broker.client_public, board.client_public, attic.client_public}
    assert board.server_secret is None
    assert len({each.client_secret for each in (broker, board, attic)}) == 3


def test_no_secret_of_another_host_is_in_a_folder_and_none_can_be_read_by_others(made: dict[str, Path]) -> None:
    assert sorted(path.name for path in made["board"].rglob("*")) == ["client.secret", "server.public"]
    secrets = [path for folder in made.values() for path in folder.rglob("*.secret")]
    assert len(secrets) == 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in made.values())
    assert stat.S_IMODE(made["board"].parent.stat().st_mode) == 0o700


def test_a_client_is_added_later_and_nothing_else_changes(made: dict[str, Path], tmp_path: Path) -> None:
    before = load_keys(made["broker"])
    assert make_keys(tmp_path / "keys", ["cellar"]) == {"cellar": tmp_path / "keys" / "cellar"}
    after = load_keys(made["broker"])
    assert after.server_secret == before.server_secret
    assert after.clients == before.clients | {load_keys(tmp_path / "keys" / "cellar").client_public}


def test_a_client_that_exists_is_never_overwritten(made: dict[str, Path], tmp_path: Path) -> None:
    before = load_keys(made["board"])
    with pytest.raises(EarwitnessError, match="a client 'board' already"):
        make_keys(tmp_path / "keys", ["cellar", "board"])
    assert not (tmp_path / "keys" / "cellar").exists()
    assert load_keys(made["board"]) == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", "broker", "-x", "a b", "x" * 65])
def test_a_client_needs_a_name_that_is_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(EarwitnessError, match="client"):
        make_keys(tmp_path / "keys", [name])
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EarwitnessError, match="Not a directory"):
        make_keys(tmp_path / "file" / "keys")


def test_what_is_wrong_with_keys_is_one_line(made: dict[str, Path], tmp_path: Path) -> None:
    board, broker = made["board"], made["broker"]

    def complaint(folder: Path) -> str:
        with pytest.raises(EarwitnessError) as caught:
            load_keys(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such folder; make it with `earwitness keys`" in complaint(tmp_path / "none")
    assert f"name one, as {broker}" in complaint(tmp_path / "keys")

    (board / "client.secret").chmod(0o640)
    assert "others may read this secret" in complaint(board)
    (board / "client.secret").chmod(0o600)

    (board / "client.secret").write_bytes((board / "server.public").read_bytes())
    assert "this is no secret key" in complaint(board)
    for text in (b"", b"\xff\x00" * 500, b"secret short\n", b"secret " + b"~" * 40 + b"\n"):
        (board / "client.secret").write_bytes(text)
        assert "this is no secret key" in complaint(board)

    (board / "client.secret").unlink()
    assert "No such file" in complaint(board)

    (broker / "server.public").write_bytes((broker / "clients" / "board.public").read_bytes())
    assert "server.public does not belong to server.secret" in complaint(broker)


def test_no_secret_is_printed(made: dict[str, Path]) -> None:
    keys = load_keys(made["broker"])
    assert keys.server_secret is not None
    assert repr(keys.client_secret) not in repr(keys)
    assert repr(keys.server_secret) not in repr(keys)


def test_keys_of_a_client_cannot_serve(made: dict[str, Path]) -> None:
    keys = load_keys(made["board"])
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket, pytest.raises(EarwitnessError, match="server"):
        keys.secure_server(socket)
