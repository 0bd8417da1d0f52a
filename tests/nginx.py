"""A real nginx with deploy/nginx/cigarjack.conf, before a server with ``tls = false``."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ports import HOST, free_port, until_listening
from twochannel.tls import make_certificate

NGINX = Path("/usr/sbin/nginx")
FILE = Path(__file__).parents[1] / "deploy" / "nginx" / "cigarjack.conf"
DOCUMENT = FILE.parents[2] / "docs" / "operations.md"
_STATE = "/var/lib/cigarjack-server"
_CERTIFICATES = "/etc/nginx/cigarjack"
#: What Debian's own nginx.conf has around the file, with every path in a folder of the test's.
#: Started by root it would become another user, who may not write there.
_AROUND = """\
user root;
worker_processes 2;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
    gzip on;
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include cigarjack.conf;
}
"""


@dataclass
class Nginx:
    """Its files are in ``folder``. ``certificate``: the dashboard's (DER)."""

    folder: Path
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    certificate: bytes = b""

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def dashboard_url(self) -> str:
        return f"https://{HOST}:{self.dashboard_port}"

    def prepare(self, state: Path, server_port: str, dashboard_port: str) -> None:
        """Write its files, as an operator does; the paths and ports are those of the test."""
        self.folder.mkdir()
        usually = documented_settings()
        server = f"http://{usually['host']}"
        own = (
            ("listen 8443 ", f"listen {HOST}:{self.port} "),
            ("listen 8444 ", f"listen {HOST}:{self.dashboard_port} "),
            (f"{server}:{usually['port']};", f"http://{HOST}:{server_port};"),
            (f"{server}:{usually['dashboard_port']};", f"http://{HOST}:{dashboard_port};"),
            (f"{_STATE}/", f"{state}/"),
            (f"{_CERTIFICATES}/", f"{self.folder}/"),
        )
        text = FILE.read_text(encoding="utf-8")
        for usual, ours in own:
            assert usual in text
            text = text.replace(usual, ours)
        (self.folder / "cigarjack.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(_AROUND)
        der = (state / "certificate.der").read_bytes()
        (self.folder / "server.pem").write_text(ssl.DER_cert_to_PEM_cert(der))
        self._make_certificate()

    def _make_certificate(self) -> None:
        """For the dashboard: one that an operator has got for the name that browsers visit."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = make_certificate(key, "dashboard", secrets.randbits(127) | 1, HOST)
        pem = ssl.DER_cert_to_PEM_cert(self.certificate)
        (self.folder / "dashboard.pem").write_text(pem)
        (self.folder / "dashboard-key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def told(self) -> str:
        return (self.folder / "error.log").read_text()


def documented_settings() -> dict[str, Any]:
    """What the document has an operator write into the server's settings."""
    text = DOCUMENT.read_text(encoding="utf-8")
    block = text.partition("The server's settings:\n\n```\n")[2].partition("```")[0]
    return tomllib.loads(block)


@asynccontextmanager
async def nginx(
    folder: Path, state: Path, server_url: str, dashboard_port: int = 0
) -> AsyncIterator[Nginx]:
    """While the block runs, before the server of the state folder ``state`` at ``server_url``."""
    proxy = Nginx(folder)
    proxy.prepare(state, server_url.rpartition(":")[2], str(dashboard_port or free_port()))
    command = (NGINX, "-p", folder, "-e", "error.log", "-c", "nginx.conf", "-g", "daemon off;")
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        await until_listening(proxy.port)
        yield proxy
    finally:
        process.terminate()
        await process.wait()
