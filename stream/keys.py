"""CURVE keys for a bus that leaves the machine: every end is encrypted, and only known clients are let in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import zmq

from .errors import EarwitnessError


@dataclass(frozen=True)
class Keys:
    """The keys of one host, Z85-encoded. `server_secret` is only on the host where the broker stands."""

    server_public: bytes
    client_public: bytes
    client_secret: bytes
    server_secret: bytes | None = None

    def secure_client(self, socket: zmq.Socket[bytes]) -> None:
        """Sets a connecting socket up. Before connect."""
        socket.curve_serverkey = self.server_public
        socket.curve_publickey = self.client_public
        socket.curve_secretkey = self.client_secret

    def secure_server(self, socket: zmq.Socket[bytes]) -> None:
        """Sets a binding socket up. Before bind; needs an authenticator to tell which clients are known."""
        if self.server_secret is None:
            raise ValueError("these keys have no server secret")
        socket.curve_server = True
        socket.curve_publickey = self.server_public
        socket.curve_secretkey = self.server_secret
        socket.zap_domain = b"earwitness"


def load_keys(folder: Path) -> Keys:
    """The keys in a folder that `earwitness keys` made. Raises EarwitnessError."""
    raise EarwitnessError(f"keys {folder}: no such folder; make it with `earwitness keys`")
