"""Control commands: those that are understood, everything else refused with a code."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.air_commands import (
    Command,
    CommandError,
    Deliver,
    Drive,
    Move,
    Mute,
    Plug,
    Positions,
    Refusal,
    Unmute,
    Unplug,
    parse,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b'{"move":"jack","x":1.5,"y":-2}\n', Move(move="jack", x=1.5, y=-2)),
        (
            b'{"drive":"jack","to":[30,0.5],"speed_mps":5}',
            Drive(drive="jack", to=(30, 0.5), speed_mps=5),
        ),
        (b'{"mute":"jack"}', Mute(mute="jack")),
        (b'{"unmute":"jack"}', Unmute(unmute="jack")),
        (b'{"unplug":"jack"}', Unplug(unplug="jack")),
        (b'{"plug":"jack"}', Plug(plug="jack")),
        (b'{"positions":true}', Positions(positions=True)),
        (
            b'{"deliver":"lane","address":"2A:00:00:00:00:01","random":true,"data":"0016",'
            b'"rssi_dbm":-60}',
            Deliver(
                deliver="lane", address="2A:00:00:00:00:01", random=True, data="0016", rssi_dbm=-60
            ),
        ),
    ],
)
def test_commands(line: bytes, command: Command) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", Refusal.MALFORMED),
        (b"\n", Refusal.MALFORMED),
        (b"move jack", Refusal.MALFORMED),
        (b'{"move":"jack"', Refusal.MALFORMED),
        (b'["move"]', Refusal.MALFORMED),
        (b"null", Refusal.MALFORMED),
        (b'"\xff"', Refusal.MALFORMED),
        (b"[" * 4000, Refusal.MALFORMED),
        (b'{"a":' * 800 + b"1" + b"}" * 800, Refusal.MALFORMED),
        (b"{}", Refusal.UNKNOWN_COMMAND),
        (b'{"fly":"jack"}', Refusal.UNKNOWN_COMMAND),
        (b'{"mute":"jack","unmute":"jack"}', Refusal.UNKNOWN_COMMAND),
        (b'{"move":"jack"}', Refusal.INVALID_VALUE),
        (b'{"move":"jack","x":"1","y":2}', Refusal.INVALID_VALUE),
        (b'{"move":"jack","x":true,"y":2}', Refusal.INVALID_VALUE),
        (b'{"move":"jack","x":NaN,"y":2}', Refusal.INVALID_VALUE),
        (b'{"move":"jack","x":1e999,"y":2}', Refusal.INVALID_VALUE),
        (b'{"move":"jack","x":1,"y":2,"z":3}', Refusal.INVALID_VALUE),
        (b'{"move":7,"x":1,"y":2}', Refusal.INVALID_VALUE),
        (b'{"drive":"jack","to":[1],"speed_mps":5}', Refusal.INVALID_VALUE),
        (b'{"drive":"jack","to":[1,2,3],"speed_mps":5}', Refusal.INVALID_VALUE),
        (b'{"drive":"jack","to":[1,2],"speed_mps":0}', Refusal.INVALID_VALUE),
        (b'{"drive":"jack","to":[1,2],"speed_mps":-1}', Refusal.INVALID_VALUE),
        (b'{"drive":"jack","to":[1,2]}', Refusal.INVALID_VALUE),
        (b'{"positions":false}', Refusal.INVALID_VALUE),
        (
            b'{"deliver":"lane","address":"2A","random":true,"data":"0016","rssi_dbm":-60}',
            Refusal.INVALID_VALUE,
        ),
        (
            b'{"deliver":"lane","address":"2A:00:00:00:00:01","random":true,"data":"001",'
            b'"rssi_dbm":-60}',
            Refusal.INVALID_VALUE,
        ),
    ],
)
def test_refusals(line: bytes, code: Refusal) -> None:
    with pytest.raises(CommandError) as refused:
        parse(line)
    assert refused.value.code == code
    assert str(refused.value)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_command_or_the_one_error(line: bytes) -> None:
    with contextlib.suppress(CommandError):
        parse(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
keys = st.sampled_from(["move", "drive", "mute", "unmute", "plug", "positions", "x", "y", "to"])


@given(st.dictionaries(keys, json_values))
def test_any_json_gives_a_command_or_the_one_error(fields: dict[str, object]) -> None:
    with contextlib.suppress(CommandError):
        parse(json.dumps(fields).encode())
