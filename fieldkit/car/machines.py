"""The machines in the guest: network namespaces, and the guest itself. Pure.

The jack is the guest itself, not a namespace of its own: the kernel gives Bluetooth sockets, by
which adapters are managed, to the first namespace alone (bt_sock_create in
net/bluetooth/af_bluetooth.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. ``namespace`` None: the guest itself. Addresses are empty if it has none."""

    name: str
    namespace: str | None
    wifi_address: str = ""
    mobile_address: str = ""

    @property
    def address(self) -> str:
        """By which others reach it: over the mobile network, if it is in that."""
        return self.mobile_address or self.wifi_address

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The command line that runs a program on this machine."""
        prefix = ("ip", "netns", "exec", self.namespace) if self.namespace else ()
        return (*prefix, *arguments)


JACK: Final = Machine("jack", None, wifi_address="10.77.0.1")
PHONE: Final = Machine("phone", "phone", wifi_address="10.77.0.2", mobile_address="10.78.0.2")
LANE: Final = Machine("lane", "lane", mobile_address="10.78.0.3")
SERVER: Final = Machine("server", "server", mobile_address="10.78.0.1")
#: The access point of a network that jack and phone have both joined; there is none else.
HOUSE: Final = Machine("house", "house", wifi_address="10.77.0.254")
