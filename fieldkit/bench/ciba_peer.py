"""The server's peer: oidc-provider from npm, OpenID CIBA in poll mode, the nearest thing that one
would take for "approve on another device".

A flow is a backchannel request, the approval, and the token: three exchanges over TLS, like a
payment. Nothing of it is on disk, and no device signs anything. It is installed once, with npm,
into a folder of its own under the user's cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from fieldkit.bench import consumption
from fieldkit.bench.affinity import pinned_to_core
from fieldkit.bench.progress import BenchProgress
from fieldkit.process import Process, StageError, command
from twochannel import tls
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.protocol.wire import base64url

NAME: Final = "oidc-provider"
_HERE: Final = Path(__file__).with_name("ciba")
_INSTALL_DEADLINE_S: Final = 300
_GRANT: Final = "urn:openid:params:grant-type:ciba"
_CLIENT: Final = "bench"
_DECIMALS: Final = 3
#: So many flows until the engine has compiled what it runs all the time.
_WARM_UP: Final = 500


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """What a flow costs the peer. ``peer_busy``, ``bench_busy``: share of one core each used."""

    name: str
    version: str
    flows: int
    flows_per_s: float
    cpu_per_flow_ms: float
    peer_busy: float
    bench_busy: float
    rss_mib: float


def _version() -> str:
    manifest = json.loads((_HERE / "package.json").read_text(encoding="utf-8"))
    return str(manifest["dependencies"][NAME])


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cigarjack" / f"{NAME}-{_version()}"


def installed_file() -> Path:
    """Where this stands, the peer is installed in the version that is measured."""
    return _folder() / "node_modules" / NAME / "package.json"


async def installed() -> Path:
    """The folder with the peer and its packages, installed if need be. Raises StageError."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise StageError("the peer needs Node.js; run: apt install nodejs npm")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "peer.mjs"):
        shutil.copyfile(_HERE / name, folder / name)
    if not installed_file().exists():
        line = ("npm", "install", "--prefix", str(folder))
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
        await command("npm install", quiet, line=line, deadline_s=_INSTALL_DEADLINE_S)
    return folder


async def measure(
    state: Path, flows: int, concurrency: int, core: int | None, progress: BenchProgress
) -> PeerFigures:
    """Run ``flows`` at a fresh peer. ``core``: where it runs alone. Raises StageError."""
    progress.step(f"{NAME}: set-up")
    folder = await installed()
    secret = secrets.token_hex(16)
    arguments = [str(folder / "peer.mjs"), *_secrets(state, secret)]
    peer = NodeProcess(NAME, arguments, state / "peer.log")
    await peer.start()
    try:
        pinned_to_core(peer.pid, core)
        async with _client(str(peer.ready["url"]), concurrency) as http:
            await _load(http, secret, _WARM_UP, concurrency, None)
            progress.step(f"{NAME}: flows", flows)
            before, bench_s, at_s = _used(peer.pid), time.process_time(), time.perf_counter()
            await _load(http, secret, flows, concurrency, progress)
            wall_s = time.perf_counter() - at_s
            cpu_ms = _used(peer.pid) - before
            busy = (time.process_time() - bench_s) / wall_s
            memory = consumption.memory(peer.pid)
    finally:
        await peer.stop()
    return PeerFigures(
        name=NAME,
        version=_version(),
        flows=flows,
        flows_per_s=round(flows / wall_s, 1),
        cpu_per_flow_ms=round(cpu_ms / flows, _DECIMALS),
        peer_busy=round(cpu_ms / 1000 / wall_s, 2),
        bench_busy=round(busy, 2),
        rss_mib=memory.rss_mib,
    )


class NodeProcess(Process):
    """A process of node instead of Python."""

    interpreter = "node"


def _used(pid: int) -> float:
    return consumption.processor_time(pid).total_ms


def _secrets(state: Path, secret: str) -> list[str]:
    """Key and certificate for TLS, the client's secret, the signing key: as the peer wants them."""
    store = FileKeyStore(state / "peer")
    store.create("tls")
    key = store.private_key("tls")
    certificate = state / "peer" / "certificate.pem"
    made = tls.make_certificate(key, "peer", secrets.randbits(127) | 1)
    certificate.write_text(ssl.DER_cert_to_PEM_cert(made), encoding="ascii")
    signing = state / "peer" / "signing.json"
    private = ec.generate_private_key(ec.SECP256R1())
    write_private(signing, json.dumps(_private_jwk(private)).encode())
    return [str(store.path("tls")), str(certificate), secret, str(signing)]


def _private_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    parts = {"x": public.x, "y": public.y, "d": numbers.private_value}
    encoded = {name: base64url(value.to_bytes(32)) for name, value in parts.items()}
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", **encoded}


@asynccontextmanager
async def _client(url: str, concurrency: int) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    context = tls.first_contact_context()
    async with httpx.AsyncClient(
        base_url=url, verify=context, limits=limits, timeout=30, trust_env=False
    ) as http:
        yield http


async def _load(
    http: httpx.AsyncClient,
    secret: str,
    flows: int,
    concurrency: int,
    progress: BenchProgress | None,
) -> None:
    turns = iter(range(flows))

    async def work(lane: int) -> None:
        for _ in turns:
            await _flow(http, secret, lane)
            if progress is not None:
                progress.advance()

    await asyncio.gather(*(work(lane) for lane in range(concurrency)))


async def _flow(http: httpx.AsyncClient, secret: str, lane: int) -> None:
    """One approval on another device. Raises StageError."""
    client = httpx.BasicAuth(_CLIENT, secret)
    asked = await http.post(
        "/backchannel",
        auth=client,
        data={"scope": "openid", "login_hint": f"owner-{lane}", "binding_message": "4.50 EUR"},
    )
    request = str(_said(asked)["auth_req_id"])
    approved = await http.post("/approve", content=request)
    if approved.status_code != httpx.codes.NO_CONTENT:
        raise StageError(f"{NAME} did not take the approval: {approved.status_code}")
    token = await http.post(
        "/token", auth=client, data={"grant_type": _GRANT, "auth_req_id": request}
    )
    if "id_token" not in _said(token):
        raise StageError(f"{NAME} gave no token")


def _said(answer: httpx.Response) -> dict[str, object]:
    if answer.status_code != httpx.codes.OK:
        raise StageError(f"{NAME} answered {answer.status_code}: {answer.text[:200]}")
    said: dict[str, object] = answer.json()
    return said


if __name__ == "__main__":
    # Beforehand, where the bench itself will have no network.
    print(asyncio.run(installed()))
