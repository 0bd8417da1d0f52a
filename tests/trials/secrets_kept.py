"""What the agents of a stage must keep to themselves, taken from where they keep it."""

from __future__ import annotations

import json
import re
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from twochannel.protocol.statements import AuthCode
from twochannel.protocol.wire import from_base64url

_COMPACT = re.compile(r"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{86}")


def of_commands(said: str) -> dict[str, set[bytes]]:
    """Claim secrets of labels, and enrolment codes; ``said``: see ``overheard``."""
    outputs = [json.loads(line) for line in said.splitlines()]
    documents = [json.loads(output) for output in outputs if output.startswith("{")]
    labels = {str(told["label"]) for told in documents if str(told.get("label")).startswith("CJ1:")}
    codes = {str(told["enrolment_code"]) for told in documents if "enrolment_code" in told}
    return {
        "claim secret": {label.rpartition(":")[2].encode() for label in labels},
        "enrolment code": {code.encode() for code in codes},
    }


def of_states(states: Path) -> dict[str, set[bytes]]:
    """Private keys in every guise, and the auth codes that are in the agents' databases."""
    return {"private key": set(_keys(states)), "auth code": set(_auth_codes(states))}


def _keys(states: Path) -> Iterator[bytes]:
    for file in states.rglob("*.pem"):
        pem = file.read_bytes()
        if b"PRIVATE KEY" in pem:
            yield from (line for line in pem.splitlines() if line and not line.startswith(b"-----"))
            key = load_pem_private_key(pem, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            raw = key.private_numbers().private_value.to_bytes(32)
            yield from (raw, raw.hex().encode(), b64encode(raw), urlsafe_b64encode(raw).strip(b"="))


def _auth_codes(states: Path) -> Iterator[bytes]:
    """Whole, and the signatures alone."""
    for file in states.rglob("*.sqlite3"):
        for compact in _COMPACT.findall(" ".join(_texts(file))):
            head, _, signature = compact.split(".")
            if json.loads(from_base64url(head))["typ"] == AuthCode.TYP:
                yield from (compact.encode(), signature.encode())


def _texts(file: Path) -> Iterator[str]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                yield from (v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in row)
