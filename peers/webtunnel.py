"""webtunnel's server behind nginx, as its manual has it: nginx ends TLS and passes one path of its website on.

    with webtunnel.website(tmp_path, port, bridge.address("webtunnel")) as site:
        with managed.client(folder, argv=[LYREBIRD], transports=["webtunnel"], environment=site.trust) as proxy:
            socks.connect(proxy.methods["webtunnel"], ("192.0.2.1", 443), site.arguments(site.address))

The client is lyrebird's: webtunnel's own does not connect to loopback. webtunnel's server takes the last address of
X-Forwarded-For for the client's, and makes its port up.

Sources: webtunnel-server(1), webtunnel-client(1), version 0.0.7; nginx's documentation.
"""

from __future__ import annotations

import ipaddress
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peers.child import Child
from peers.fetched import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
PATH = "/5m9yq0j4ghkz0fz7qmuw58cvbjon0ebnrsp0"

SERVER_OPTIONS = f"ServerTransportOptions webtunnel url=https://{HOST}{PATH}"
"""The line of torrc without which the server does not start; the port is in the bridge line only."""

# No log has a client's address: what follows the start is not logged at all.
_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    error_log /dev/null crit;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location = {path} {{
            proxy_pass http://{server};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Website:
    """A running nginx.

    Attributes:
        address: where it listens.
        trust: the variable with which a client in Go trusts its certificate, and no other.
    """

    address: tuple[str, int]
    trust: Mapping[str, str]

    def arguments(self, place: tuple[str, int]) -> str:
        """Give a bridge line's arguments for a client that connects to a place, which forwards to this website."""
        return f"url=https://{place[0]}:{place[1]}{PATH}"


@contextmanager
def website(folder: Path, port: int, server: tuple[str, int]) -> Iterator[Website]:
    """Run nginx until the block ends.

    Args:
        folder: for its configuration and certificate; it need not be there.
        port: where it listens, reserved.
        server: where webtunnel's server listens.

    Raises:
        ChildError: if it does not start.
    """
    folder.mkdir(exist_ok=True)
    _write_certificate(folder)
    address = HOST, port
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder, address="{}:{}".format(*address), path=PATH, server="{}:{}".format(*server)
        )
    )
    program = find_program("nginx") or "nginx"
    with Child([program, "-e", "stderr", "-p", str(folder), "-c", str(configuration)]) as child:
        child.wait_for_line("stderr", r"\[notice\] .*: OS: ")
        yield Website(address, {"SSL_CERT_FILE": str(folder / "certificate.pem")})


def _write_certificate(folder: Path) -> None:
    """Write a certificate for HOST, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=2))
        .add_extension(alternative, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
