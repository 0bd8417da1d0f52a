"""Addresses of brokers: what is taken, and what is said of the others."""

from __future__ import annotations

import pytest

from twochannel.broker_address import BrokerAddress
from twochannel.settings import AgentSettings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "mqtts://lane@broker.example:8884/site/one",
            BrokerAddress("broker.example", 8884, True, "lane", "site/one"),
        ),
        ("mqtts://broker.example", BrokerAddress("broker.example", 8883, True, None, "cigarjack")),
        ("mqtt://127.0.0.1/", BrokerAddress("127.0.0.1", 1883, False, None, "cigarjack")),
        ("mqtt://me@localhost/a/", BrokerAddress("localhost", 1883, False, "me", "a")),
        ("mqtt://me@[::1]:1884", BrokerAddress("::1", 1884, False, "me", "cigarjack")),
        ("mqtt://10.0.0.7/", BrokerAddress("10.0.0.7", 1883, False, None, "cigarjack")),
    ],
)
def test_an_address_is_taken(text: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(text) == address
    assert AgentSettings(mqtt=text).mqtt == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mqtts://lane:secret@broker.example", "mqtt_password_file"),
        ("broker.example:1883", "write mqtts://"),
        ("https://broker.example", "write mqtts://"),
        ("mqtts://", "write mqtts://"),
        ("mqtts://broker.example:99999", "a port is"),
        ("mqtts://broker.example:0", "a port is"),
        ("mqtts://broker.example/site/#", r"none of \+ and #"),
        ("mqtts://broker.example/+/x", r"none of \+ and #"),
        ("mqtt://lane@broker.example", "would be readable"),
        ("mqtt://lane@10.0.0.7", "would be readable"),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BrokerAddress.parse(text)
    with pytest.raises(ValueError, match=told):
        AgentSettings(mqtt=text)


def test_nothing_is_published_by_default() -> None:
    assert AgentSettings().mqtt == ""


@pytest.mark.parametrize("name", ["a/b", "+", "#"])
def test_a_name_is_one_level_of_a_topic(name: str) -> None:
    with pytest.raises(ValueError, match="mqtt_name"):
        AgentSettings(mqtt_name=name)
