"""Connections between virtual controllers, one connection event after the other.

At each event, ``interval`` apart, both sides send if both are there, and neither muted; what waits
on either side is then delivered, in order and whole, if the packets of both arrive
(``fieldkit.propagation``). If not, it is tried again at the next. Once events have failed for the
supervision timeout the connection is lost, with its reason on both sides (Core spec, Vol 6 Part B
sections 4.5.1 and 4.5.2). What differs from a real link layer: an event carries any amount of
data, and channels, clock drift and the peripheral's latency are not modelled.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from bumble import hci, ll
from bumble.controller import Connection
from bumble.core import PhysicalTransport

if TYPE_CHECKING:
    from fieldkit.ether import Ether
    from fieldkit.virtual_controller import VirtualController

INTERVAL_UNIT_S: Final = 0.001_25
TIMEOUT_UNIT_S: Final = 0.01
_LOCAL_HOST = hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR
_TIMEOUT = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR


class ConnectionEnd(Connection):
    """One controller's side of a connection, and what it has yet to send.

    A host's packet counts as completed when the other side has it, so that the host is held back;
    Bumble's counts at once.
    """

    controller: VirtualController

    def __init__(
        self,
        controller: VirtualController,
        role: hci.Role,
        self_address: hci.Address,
        peer_address: hci.Address,
    ) -> None:
        super().__init__(
            controller=controller,
            handle=controller.allocate_connection_handle(),
            role=role,
            self_address=self_address,
            peer_address=peer_address,
            link=controller.ether,
            transport=PhysicalTransport.LE,
            link_type=hci.HCI_Connection_Complete_Event.LinkType.ACL,
        )
        self.waiting: deque[bytes | ll.ControlPdu] = deque()
        self._fragments: deque[int] = deque([0])  # of each waiting PDU, and of the one begun

    @property
    def present(self) -> bool:
        """True until its controller was reset or has left the connection."""
        return self.controller.le_connections.get(self.peer_address) is self

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        self._fragments[-1] += 1
        self.assembler.feed_packet(packet)

    def on_acl_pdu(self, pdu: bytes) -> None:
        self._fragments.append(0)
        self.waiting.append(pdu)

    def send_ll_control_pdu(self, packet: ll.ControlPdu) -> None:
        self.waiting.append(packet)

    def complete(self) -> None:
        """Tell the host that the oldest of its PDUs has arrived."""
        self.controller.send_hci_packet(
            hci.HCI_Number_Of_Completed_Packets_Event(
                connection_handles=[self.handle], num_completed_packets=[self._fragments.popleft()]
            )
        )


class AirConnection:
    """Runs the connection events of two ends until the connection is over."""

    def __init__(
        self,
        ether: Ether,
        central: ConnectionEnd,
        peripheral: ConnectionEnd,
        parameters: hci.HCI_LE_Create_Connection_Command,
    ) -> None:
        self._ether = ether
        self._ends = (central, peripheral)
        self._interval_s = parameters.connection_interval_min * INTERVAL_UNIT_S
        self._timeout_s = parameters.supervision_timeout * TIMEOUT_UNIT_S
        self._missed_s = 0.0
        self._due_s = ether.clock.time()
        self._wait()

    def _wait(self) -> None:
        # As with adverts, events that were missed while the process stood still stay missed.
        self._due_s = max(self._due_s + self._interval_s, self._ether.clock.time())
        self._ether.clock.call_at(self._due_s, self._on_event)

    def _on_event(self) -> None:
        central, peripheral = self._ends
        # Counted in events, not by the clock, so that a busy machine loses no connections.
        self._missed_s = 0.0 if self._arrives() else self._missed_s + self._interval_s
        if not self._missed_s:
            self._deliver(central, peripheral)
            self._deliver(peripheral, central)
        elif self._missed_s >= self._timeout_s:
            for end in self._ends:
                _leave(end, _TIMEOUT)
        if central.present or peripheral.present:
            self._wait()

    def _arrives(self) -> bool:
        """Whether both sides are there and hear each other in this event."""
        central, peripheral = self._ends
        return (
            all(end.present and not end.controller.muted for end in self._ends)
            and self._ether.carry(central.controller, peripheral.controller) is not None
            and self._ether.carry(peripheral.controller, central.controller) is not None
        )

    def _deliver(self, sender: ConnectionEnd, receiver: ConnectionEnd) -> None:
        while sender.waiting and sender.present and receiver.present:
            pdu = sender.waiting.popleft()
            if isinstance(pdu, bytes):
                sender.complete()
                receiver.controller.on_link_acl_data(sender.self_address, sender.transport, pdu)
            elif isinstance(pdu, ll.TerminateInd):
                _leave(receiver, hci.HCI_ErrorCode(pdu.error_code))
                _leave(sender, _LOCAL_HOST)
            else:
                self._take_parameters(pdu)
                receiver.controller.on_ll_control_pdu(sender.self_address, pdu)

    def _take_parameters(self, pdu: ll.ControlPdu) -> None:
        if isinstance(pdu, ll.ConnectionUpdateInd):
            self._interval_s = pdu.interval * INTERVAL_UNIT_S
            self._timeout_s = pdu.timeout * TIMEOUT_UNIT_S


def _leave(end: ConnectionEnd, reason: hci.HCI_ErrorCode) -> None:
    if end.present:
        end.controller.on_le_disconnected(end, reason)
