"""What the phone owns: pins of server and jacks, payment methods, the owner's limits."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass, replace
from typing import Any

from cigarjack.client import JackPin
from phone_agent.consent import Rules
from phone_agent.database import Database, put_fact
from server.client import ServerPin
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.keys import Jwk
from twochannel.protocol.money import Amount


@dataclass(frozen=True, slots=True)
class KeptJack:
    """A jack that is this phone's.

    ``host``, ``port``: where it was last reached. ``acceptance``: the counter-signed pairing
    (compact) for the server; ``registered``: the server has it.
    """

    pin: JackPin
    host: str
    port: int
    acceptance: str
    registered: bool = False


@dataclass(frozen=True, slots=True)
class KeptMethod:
    """A payment method: ``id`` names it in confirmations.

    ``statement``: the registration (compact) for the server; ``registered``: the server has it.
    """

    id: str
    label: str
    statement: str
    registered: bool = False


@dataclass(frozen=True, slots=True)
class KeptInstruction:
    """A signed order (compact) that the server at ``path`` has not answered yet."""

    id: str
    path: str
    typ: str
    compact: str

    def signed_again(self, compact: str) -> KeptInstruction:
        return replace(self, compact=compact)


@dataclass(frozen=True, slots=True)
class Limit:
    """The owner's limit for one payment at ``merchant``."""

    merchant: str
    amount: Amount


class Wallet:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_enrolment(self, compact: str) -> None:
        """Store the enrolment statement before it is sent."""
        with self._database.transaction() as db:
            put_fact(db, "enrolment", compact)

    def enrolment(self) -> str | None:
        """The enrolment statement that has no answer yet."""
        return self._database.fact("enrolment")

    def pin_server(self, pin: ServerPin) -> None:
        """The server has enrolled this phone."""
        with self._database.transaction() as db:
            put_fact(db, "server", pin.to_json())
            db.execute("DELETE FROM facts WHERE name = 'enrolment'")

    def server(self) -> ServerPin | None:
        """The server of this phone, or None before enrolment."""
        text = self._database.fact("server")
        return ServerPin.from_json(text) if text is not None else None

    def keep_jack(self, jack: KeptJack) -> None:
        """Store a pairing that a jack has made; it takes the place of an older one."""
        pin = jack.pin
        with self._database.transaction() as db:
            _end_pairing(db, pin.jack)
            db.execute(
                "INSERT OR REPLACE INTO jacks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    pin.jack,
                    pin.key.model_dump_json(),
                    pin.certificate,
                    pin.link_key,
                    pin.epoch,
                    jack.acceptance,
                    jack.registered,
                    jack.host,
                    jack.port,
                ),
            )

    def keep_acceptance(self, jack: str, acceptance: str) -> None:
        """Store the acceptance signed again; the server has refused the old one for its time."""
        with self._database.transaction() as db:
            db.execute("UPDATE jacks SET acceptance = ? WHERE jack = ?", (acceptance, jack))

    def jack_registered(self, jack: str, epoch: int) -> None:
        """The server has accepted the pairing of this epoch."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE jacks SET registered = 1 WHERE jack = ? AND epoch = ?", (jack, epoch)
            )

    def keep_address(self, jack: str, host: str, port: int) -> None:
        """Remember where the jack was reached."""
        with self._database.transaction() as db:
            db.execute("UPDATE jacks SET host = ?, port = ? WHERE jack = ?", (host, port, jack))

    def jacks(self) -> list[KeptJack]:
        rows = self._database.rows(
            "SELECT jack, key, certificate, link_key, epoch, host, port, acceptance, registered"
            " FROM jacks ORDER BY jack"
        )
        return [_kept_jack(row) for row in rows]

    def allow(self, limit: Limit) -> None:
        """Put the merchant on the list, with a limit for one payment in the limit's currency."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO limits VALUES (?, ?, ?)",
                (limit.merchant, limit.amount.currency, limit.amount.value),
            )

    def forget(self, merchant: str) -> None:
        """Take the merchant off the list. Raises PaymentError if it is not on it."""
        with self._database.transaction() as db:
            if db.execute("DELETE FROM limits WHERE merchant = ?", (merchant,)).rowcount == 0:
                raise PaymentError(ErrorCode.NOT_FOUND, "that merchant is not on your list")

    def limits(self) -> list[Limit]:
        rows = self._database.rows(
            "SELECT merchant, currency, limit_minor FROM limits ORDER BY merchant, currency"
        )
        return [
            Limit(merchant, Amount(value=limit_minor, currency=currency))
            for merchant, currency, limit_minor in rows
        ]

    def keep_rules(self, rules: Rules) -> None:
        """Store the owner's rules for all merchants together."""
        with self._database.transaction() as db:
            put_fact(db, "rules", json.dumps(asdict(rules)))

    def rules(self) -> Rules:
        text = self._database.fact("rules")
        return Rules(**json.loads(text)) if text is not None else Rules()

    def epoch_of(self, jack: str) -> int:
        """The epoch of the pairing with a jack. Raises PaymentError."""
        rows = self._database.rows("SELECT epoch FROM jacks WHERE jack = ?", jack)
        if not rows:
            raise PaymentError(ErrorCode.NOT_FOUND, "that jack is not paired with this phone")
        return int(rows[0][0])

    def release_jack(self, jack: str, instruction: KeptInstruction) -> KeptInstruction:
        """Answer nothing for this jack any more; the order for the server is stored with that."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM jacks WHERE jack = ?", (jack,))
            _end_pairing(db, jack)
            _put_instruction(db, instruction)
        return instruction

    def limits_minor(self, merchant: str) -> dict[str, int]:
        """Limits at one merchant, in minor units by currency; empty if it is not on the list."""
        return {
            limit.amount.currency: limit.amount.value
            for limit in self.limits()
            if limit.merchant == merchant
        }

    def keep_method(self, method: KeptMethod) -> None:
        """Store a method. The first one is the default."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO methods SELECT ?, ?, ?, ?, coalesce(max(place), 0) + 1 FROM methods",
                (method.id, method.label, method.statement, method.registered),
            )

    def keep_method_statement(self, method: str, statement: str) -> None:
        """Store the registration signed again; the server has refused the old one for its time."""
        with self._database.transaction() as db:
            db.execute("UPDATE methods SET statement = ? WHERE id = ?", (statement, method))

    def method_registered(self, method: str) -> None:
        with self._database.transaction() as db:
            db.execute("UPDATE methods SET registered = 1 WHERE id = ?", (method,))

    def drop_method(self, method: str) -> None:
        """Forget a method that the server has refused."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM methods WHERE id = ?", (method,))

    def choose_method(self, method: str, instruction: KeptInstruction) -> KeptInstruction:
        """Pay with this method; the order for the server is stored with that."""
        with self._database.transaction() as db:
            first = "(SELECT min(place) - 1 FROM methods)"
            if (
                db.execute(
                    f"UPDATE methods SET place = {first} WHERE id = ?",  # noqa: S608
                    (method,),
                ).rowcount
                == 0
            ):
                raise PaymentError(ErrorCode.NOT_FOUND, "this phone has no such payment method")
            _put_instruction(db, instruction)
        return instruction

    def remove_method(self, method: str, instruction: KeptInstruction) -> KeptInstruction:
        """Pay with this method no more; the order for the server is stored with that."""
        with self._database.transaction() as db:
            if db.execute("DELETE FROM methods WHERE id = ?", (method,)).rowcount == 0:
                raise PaymentError(ErrorCode.NOT_FOUND, "this phone has no such payment method")
            db.execute("DELETE FROM facts WHERE name GLOB ?", (_coupling_name("*", method),))
            _put_instruction(db, instruction)
        return instruction

    def keep_instruction(self, instruction: KeptInstruction) -> None:
        """Store an order signed again; the server has refused the old one for its time."""
        with self._database.transaction() as db:
            _put_instruction(db, instruction)

    def drop_instruction(self, instruction: str) -> None:
        """The server has answered it."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM facts WHERE name = ?", (_instruction_name(instruction),))

    def instruction_taken(self, instruction: str, coupled: tuple[str, str] | None) -> None:
        """The server has acted on it. ``coupled``: jack and method, if it coupled them."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM facts WHERE name = ?", (_instruction_name(instruction),))
            if coupled is not None:
                put_fact(db, _coupling_name(*coupled), "")

    def uncouple(self, method: str, jack: str, instruction: KeptInstruction) -> KeptInstruction:
        """End a coupling; the order for the server is stored with that. Raises PaymentError."""
        with self._database.transaction() as db:
            name = _coupling_name(jack, method)
            if db.execute("DELETE FROM facts WHERE name = ?", (name,)).rowcount == 0:
                raise PaymentError(ErrorCode.PAYMENT_METHOD_NOT_COUPLED)
            _put_instruction(db, instruction)
        return instruction

    def couplings(self, jack: str) -> list[str]:
        """Ids of the methods that are coupled to a jack."""
        prefix = _coupling_name(jack, "")
        rows = self._database.rows("SELECT name FROM facts WHERE name GLOB ?", f"{prefix}*")
        return [str(name).removeprefix(prefix) for (name,) in rows]

    def owe(self, jack: str, removal: str, compact: str) -> None:
        """Keep a removal for the jack until it has been told."""
        with self._database.transaction() as db:
            put_fact(db, _owed_name(jack, removal), compact)

    def owed(self, jack: str) -> list[tuple[str, str]]:
        """Id and statement of what the jack is to be told, oldest first: ids begin with time."""
        prefix = _owed_name(jack, "")
        rows = self._database.rows(
            "SELECT name, value FROM facts WHERE name GLOB ? ORDER BY name", f"{prefix}*"
        )
        return [(str(name).removeprefix(prefix), str(value)) for name, value in rows]

    def pay_off(self, jack: str, removal: str) -> None:
        """The jack has been told."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM facts WHERE name = ?", (_owed_name(jack, removal),))

    def method_for(self, jack: str) -> str | None:
        """The id of the method to pay with for a jack: the first that the server takes for it."""
        coupled = self.couplings(jack)
        known = [method.id for method in self.methods() if method.registered]
        return next((method for method in known if method in coupled), next(iter(known), None))

    def instructions(self) -> list[KeptInstruction]:
        """Orders without an answer, the oldest first: their ids begin with the time."""
        rows = self._database.rows(
            "SELECT value FROM facts WHERE name GLOB ? ORDER BY name", _instruction_name("*")
        )
        return [KeptInstruction(**json.loads(value)) for (value,) in rows]

    def methods(self) -> list[KeptMethod]:
        """All methods, the default first."""
        rows = self._database.rows(
            "SELECT id, label, statement, registered FROM methods ORDER BY place"
        )
        return [
            KeptMethod(method, label, statement, bool(registered))
            for method, label, statement, registered in rows
        ]

    def default_method(self) -> str | None:
        """The id of the method to pay with: the first that the server knows."""
        return next((method.id for method in self.methods() if method.registered), None)


def _instruction_name(instruction: str) -> str:
    return f"instruction {instruction}"


def _coupling_name(jack: str, method: str) -> str:
    return f"coupled {jack} {method}"


def _owed_name(jack: str, removal: str) -> str:
    return f"owed {jack} {removal}"


def _end_pairing(db: sqlite3.Connection, jack: str) -> None:
    """Couplings were made, and members removed, in a pairing that has ended."""
    for name in (_coupling_name(jack, "*"), _owed_name(jack, "*")):
        db.execute("DELETE FROM facts WHERE name GLOB ?", (name,))


def _put_instruction(db: sqlite3.Connection, instruction: KeptInstruction) -> None:
    put_fact(db, _instruction_name(instruction.id), json.dumps(asdict(instruction)))


def _kept_jack(row: tuple[Any, ...]) -> KeptJack:
    jack, key, certificate, link_key, epoch, host, port, acceptance, registered = row
    pin = JackPin(jack, Jwk.model_validate_json(key), certificate, link_key, epoch)
    return KeptJack(pin, host, port, acceptance, bool(registered))
