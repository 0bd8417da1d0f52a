"""The pages for a browser on another machine: at an address that is not loopback, by TLS alone."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from asyncio import to_thread
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import expect

from phone_agent.config import PhoneSettings
from phone_agent.owner_commands import certificate_advice, page
from tests.browser import chromium, judged, opened
from tests.cigarjack.parties import Jack, served
from tests.page_client import token_in
from tests.phone_agent.owners_phone import OwnersPhone, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.statements import Decision, Merchant
from twochannel.tls import fingerprint, make_certificate

STRANGER = Merchant(id="stranger", name="Blue & Bottle")
TLS_1_2 = ssl.TLSVersion.TLSv1_2


@pytest.fixture
def address() -> str:
    """One of this machine that is not loopback: what is sent to it does not leave the machine."""
    everything = (a for own in psutil.net_if_addrs().values() for a in own)
    own = (a.address for a in everything if a.family is socket.AF_INET)
    found = next((a for a in own if not ip_address(a).is_loopback), None)
    assert found, "this machine has no address; make test gives one to each worker"
    return found


async def told(phone: OwnersPhone) -> tuple[str, str]:
    """The link, and the fingerprint of what it leads to."""
    answer = await phone.command("POST", "/v1/page")
    return answer["url"], answer["certificate_sha256"]


def shown_at(url: str) -> bytes:
    """The certificate (DER) that is shown there to everybody."""
    place = httpx.URL(url)
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((place.host, place.port or 443)))


def pinning(certificate: bytes) -> str:
    """The flag by which Chromium takes this key, as after its owner has compared."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    digest = hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"


@pytest.mark.chromium
async def test_another_phone_s_browser_answers(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, address: str
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running(page_host=address):
        url, sha256 = await told(phone)
        assert url.startswith(f"https://{address}:")
        certificate = await to_thread(shown_at, url)
        assert fingerprint(certificate) == sha256
        async with chromium(pinning(certificate)) as browser, opened(browser, url) as window:
            await expect(window.get_by_text("Your jack is in reach")).to_be_visible()
            await judged(window, "on another phone")
            (cookie,) = await window.context.cookies()
            assert (cookie["name"], cookie["secure"]) == ("__Host-session", True)
            # The stream tells it of the question, and the form is taken as its own.
            server.ask(server.challenge(jack.id, phone.id, merchant=STRANGER))
            await window.get_by_role("button", name="Approve").click()
            assert (await server.confirmation()).decision is Decision.APPROVE


@pytest.mark.chromium
async def test_a_browser_that_has_not_compared_is_warned(phone: OwnersPhone, address: str) -> None:
    async with phone.running(page_host=address), chromium() as browser:
        url, _ = await told(phone)
        with pytest.raises(PlaywrightError, match="ERR_CERT_AUTHORITY_INVALID"):
            async with opened(browser, url):
                pytest.fail("opened")


async def test_only_its_own_address_is_answered_and_only_by_tls_1_3(
    phone: OwnersPhone, address: str
) -> None:
    async with phone.running(page_host=address):
        url, _ = await told(phone)
        place = httpx.URL(url)
        own = f"https://{address}:{place.port}"
        async with httpx.AsyncClient(verify=False, base_url=own) as browser:
            assert (await browser.get("/")).status_code == 401
            for host in ("phone.example", f"localhost:{place.port}", address, f"{address}:1"):
                assert (await browser.get("/", headers={"host": host})).status_code == 421
            assert (await browser.get(place.path)).status_code == 303
            form = {"token": token_in((await browser.get("/limits")).text), "currency": "EUR"}
            for origin, status in ((own, 303), ("https://phone.example", 403), ("null", 403)):
                headers = {"origin": origin}
                answer = await browser.post("/limits/rules", data=form, headers=headers)
                assert answer.status_code == status
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, TLS_1_2
        async with httpx.AsyncClient(verify=old) as browser:
            for refused in (own, f"http://{address}:{place.port}"):
                with pytest.raises(httpx.TransportError):
                    await browser.get(refused)


async def test_it_listens_at_no_other_address(phone: OwnersPhone, address: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        async with phone.running(page_host=address, page_port=port):
            url, _ = await told(phone)
    assert url.startswith(f"https://{address}:{port}/")


async def test_the_certificate_is_for_the_address_private_and_stays(
    phone: OwnersPhone, address: str
) -> None:
    async with phone.running(page_host=address):
        url, sha256 = await told(phone)
        found = x509.load_der_x509_certificate(await to_thread(shown_at, url))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == [address]
    kept = {path.name: path.stat().st_mode & 0o777 for path in (phone.state / "keys").glob("page*")}
    assert kept == {"page.pem": 0o600, f"page-{address}.der": 0o600}
    async with phone.running(page_host=address):
        again, fingerprint_again = await told(phone)
    assert fingerprint_again == sha256
    assert httpx.URL(again).port == httpx.URL(url).port


async def test_on_loopback_there_is_no_certificate(phone: OwnersPhone) -> None:
    async with phone.running():
        answer = await phone.command("POST", "/v1/page")
    assert answer["certificate_sha256"] is None
    assert answer["url"].startswith("http://phone-")
    assert list((phone.state / "keys").glob("page*")) == []


@pytest.fixture
def owners_files(tmp_path: Path, address: str) -> dict[str, Path]:
    """A certificate that the owner has from elsewhere, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_certificate(key, "from elsewhere", 1, address)
    files = {"page_certificate": tmp_path / "cert.pem", "page_key": tmp_path / "key.pem"}
    files["page_certificate"].write_text(ssl.DER_cert_to_PEM_cert(certificate))
    files["page_key"].write_bytes(_pem(key, serialization.NoEncryption()))
    return files


def _pem(key: ec.EllipticCurvePrivateKey, how: Any) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


async def test_a_certificate_of_the_owner_is_shown_instead(
    phone: OwnersPhone, address: str, owners_files: dict[str, Path]
) -> None:
    async with phone.running(page_host=address, **owners_files):
        url, sha256 = await told(phone)
        # As on a phone that was told to trust it: chain and address are checked.
        trusting = ssl.create_default_context(cafile=owners_files["page_certificate"])
        async with httpx.AsyncClient(verify=trusting) as browser:
            assert (await browser.get(url)).status_code == 303
    pem = owners_files["page_certificate"].read_text()
    assert fingerprint(ssl.PEM_cert_to_DER_cert(pem)) == sha256
    assert list((phone.state / "keys").glob("page*")) == []


async def test_a_certificate_that_cannot_be_used_is_told(
    phone: OwnersPhone, address: str, owners_files: dict[str, Path]
) -> None:
    key, other = owners_files["page_key"], ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"a password")
    for content in (b"", _pem(other, serialization.NoEncryption()), _pem(other, locked)):
        key.write_bytes(content)
        with pytest.raises(OSError, match="both have to be PEM, to belong together"):
            async with phone.running(page_host=address, **owners_files):
                pytest.fail("started")
    key.unlink()
    with pytest.raises(OSError, match="No such file"):
        async with phone.running(page_host=address, **owners_files):
            pytest.fail("started")


async def test_an_address_that_cannot_be_had_is_told(phone: OwnersPhone, address: str) -> None:
    with pytest.raises(OSError, match=r"198.51.100.1.* choose an address that this machine has"):
        async with phone.running(page_host="198.51.100.1"):
            pytest.fail("started")
    with closing(socket.create_server((address, 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"{address}:{port} .* stop what listens there"):
            async with phone.running(page_host=address, page_port=port):
                pytest.fail("started")


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"page_host": "phone.local"}, "no IP address"),
     ({"page_host": "0.0.0.0"}, "not all of them"),
     ({"page_host": "::"}, "not all of them"),
     ({"page_host": "224.0.0.1"}, "not all of them"),
     ({"page_host": "127.0.0.2"}, "127.0.0.1 or ::1"),
     ({"page_host": "fe80::1%eth0"}, "name of an interface"),
     ({"page_host": "192.0.2.7", "page_certificate": "a.pem"}, "go together"),
     ({"page_host": "192.0.2.7", "page_key": "a.pem"}, "go together"),
     ({"page_certificate": "a.pem", "page_key": "b.pem"}, "not loopback")],
)  # fmt: skip
def test_settings_that_no_browser_could_use_are_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PhoneSettings(**settings)


async def test_the_command_says_what_to_compare(phone: OwnersPhone, address: str) -> None:
    async with phone.running(page_host=address):
        _, sha256 = await told(phone)
        answer = await to_thread(CliRunner().invoke, page, [], obj=phone.state)
    written = answer.output.replace("\n", "")
    assert f"https://{address}:" in written
    assert ":".join(sha256[i : i + 2].upper() for i in range(0, 64, 2)) in written
    assert max(map(len, certificate_advice(sha256).splitlines())) <= 80
