"""CURVE keys for a bus that leaves the machine: every end is encrypted, and only known clients are let in.

`earwitness keys FOLDER --client board` makes one folder for each host, to be copied there and named as `bus.keys`:

    FOLDER/broker/   server.secret  client.secret  server.public  clients/broker.public  clients/board.public
    FOLDER/board/    client.secret  server.public

Nobody else may read a secret. A client is forgotten by deleting its file in `clients/` and starting the broker again.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from .errors import EarwitnessError

BROKER = "broker"  # the folder of the host where the broker stands
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(rb"(public|secret) ([0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40})\n")


@dataclass(frozen=True)
class Keys:
    """The keys of one host, Z85-encoded. `server_secret` and `clients` are only on the host where the broker stands."""

    server_public: bytes
    client_public: bytes
    client_secret: bytes = field(repr=False)
    server_secret: bytes | None = field(default=None, repr=False)
    clients: frozenset[bytes] = frozenset()  # the public keys that the broker lets in

    def secure_client(self, socket: zmq.Socket[bytes]) -> None:
        """Sets a connecting socket up. Before connect."""
        socket.curve_serverkey = self.server_public
        socket.curve_publickey = self.client_public
        socket.curve_secretkey = self.client_secret

    def secure_server(self, socket: zmq.Socket[bytes]) -> None:
        """Sets a binding socket up. Before bind; a `Gatekeeper` in the same context tells which clients are known."""
        if self.server_secret is None:
            raise EarwitnessError(f"these keys hold no server.secret: the broker needs the folder {BROKER!r} of them")
        socket.curve_server = True
        socket.curve_publickey = self.server_public
        socket.curve_secretkey = self.server_secret
        socket.zap_domain = b"earwitness"


def make_keys(folder: Path, clients: Iterable[str] = ()) -> dict[str, Path]:
    """Makes a broker's keys and those of each client; returns which folder belongs on which host.

    A folder that has a broker's keys already keeps them and gets the new clients. Raises EarwitnessError for a client
    that exists, whose keys somebody may be using.
    """
    names = list(dict.fromkeys(clients))
    for name in names:
        if not _NAME.fullmatch(name) or name == BROKER:
            raise EarwitnessError(f"client {name!r}: letters, digits, '.', '_' and '-', at most 64, not {BROKER!r}")
        if (folder / name).exists() or (folder / BROKER / "clients" / f"{name}.public").exists():
            raise EarwitnessError(f"keys {folder}: there is a client {name!r} already; remove its folder and its file")
    made = {}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / BROKER).exists():
            public, secret = zmq.curve_keypair()
            (folder / BROKER / "clients").mkdir(mode=0o700, parents=True)
            (folder / BROKER).chmod(0o700)
            _write(folder / BROKER / "server.secret", b"secret", secret)
            _write(folder / BROKER / "server.public", b"public", public)
            made[BROKER] = folder / BROKER
        server_public = _read(folder / BROKER / "server.public", "public")
        for name in [*made, *names]:  # the broker's own host has clients too
            public, secret = zmq.curve_keypair()
            host = folder / name
            host.mkdir(mode=0o700, exist_ok=name == BROKER)
            _write(host / "client.secret", b"secret", secret)
            if name != BROKER:
                _write(host / "server.public", b"public", server_public)
            _write(folder / BROKER / "clients" / f"{name}.public", b"public", public)
            made[name] = host
    except OSError as error:
        raise EarwitnessError(f"keys {folder}: {error.strerror} ({error.filename})") from None
    return made


def load_keys(folder: Path) -> Keys:
    """The keys in a host's folder that `make_keys` made. Raises EarwitnessError."""
    if not folder.is_dir():
        raise EarwitnessError(f"keys {folder}: no such folder; make it with `earwitness keys`")
    if (folder / BROKER).is_dir():
        raise EarwitnessError(f"keys {folder}: holds the folders of several hosts; name one, as {folder / BROKER}")
    server_public = _read(folder / "server.public", "public")
    client_secret = _read(folder / "client.secret", "secret")
    server_secret = None
    if (folder / "server.secret").exists():
        server_secret = _read(folder / "server.secret", "secret")
        if zmq.curve_public(server_secret) != server_public:
            raise EarwitnessError(f"keys {folder}: server.public does not belong to server.secret")
    known = sorted((folder / "clients").glob("*.public")) if server_secret else []
    return Keys(
        server_public=server_public,
        client_public=zmq.curve_public(client_secret),
        client_secret=client_secret,
        server_secret=server_secret,
        clients=frozenset(_read(path, "public") for path in known),
    )


class Gatekeeper:
    """Lets known clients in and counts who was refused, in the loop of the broker, without a thread of its own.

    It answers libzmq's question whether a client's key is known (ZAP, https://rfc.zeromq.org/spec/27/) and listens to
    handshakes that failed before that question: a client with another server's key, or with no key at all.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys, counts: Counter[str]):
        self._keys, self._counts = keys, counts
        self._questions = context.socket(zmq.REP)
        self._questions.bind("inproc://zeromq.zap.01")
        self._monitors: list[zmq.Socket[bytes]] = []

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Counts the failed handshakes of a binding socket. Before bind."""
        events = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        self._monitors.append(socket.get_monitor_socket(events))

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What there is to listen to."""
        return [self._questions, *self._monitors]

    def serve(self) -> bool:
        """Answers and counts all that has come; known clients wait for it. False: there is no more."""
        while parts := _received(self._questions):
            self._questions.send_multipart(self._answer(parts))
        for monitor in self._monitors:
            while _received(monitor):  # which failure it was and whose does not matter
                self._counts["handshake_failed"] += 1
        return False

    def close(self) -> None:
        """After the sockets that it watched."""
        for socket in self.sockets:
            socket.close(linger=0)

    def _answer(self, parts: list[bytes]) -> list[bytes]:
        """version, request id, domain, address, identity, mechanism, credentials → version, id, code, text, user, …"""
        request = parts[1] if len(parts) > 1 else b""
        if len(parts) == 7 and parts[5] == b"CURVE" and z85.encode(parts[6]) in self._keys.clients:
            return [b"1.0", request, b"200", b"OK", b"", b""]
        self._counts["denied"] += 1
        return [b"1.0", request, b"400", b"unknown key", b"", b""]


def _received(socket: zmq.Socket[bytes]) -> list[bytes]:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return []


def _write(path: Path, kind: bytes, key: bytes) -> None:
    mode = 0o600 if kind == b"secret" else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(kind + b" " + key + b"\n")


def _read(path: Path, kind: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(1000)
    except OSError as error:
        raise EarwitnessError(f"keys {path}: {error.strerror}; make it with `earwitness keys`") from None
    if kind == "secret" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise EarwitnessError(f"keys {path}: others may read this secret; chmod 600 it, or make new keys")
    found = _KEY.fullmatch(text)
    if found is None or found[1].decode() != kind:
        raise EarwitnessError(f"keys {path}: this is no {kind} key that `earwitness keys` made")
    return found[2]
