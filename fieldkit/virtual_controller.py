"""A virtual Bluetooth LE controller as strict as the ones on a Raspberry Pi.

Bumble's controller, with a physical layer. What differs from Bumble 0.0.236:

- advertising intervals are in units of 0.625 ms, with the pseudo-random advDelay between events;
- non-connectable and scannable adverts are sent, each received once under its own type, and a
  scan response only by a scanner that asks for it;
- RSSI and loss of each packet come from ``fieldkit.propagation``;
- connections (``fieldkit.virtual_connection``) are made on hearing a connectable advert, which ends
  the advertising, and are lost when the two no longer hear each other;
- no extended advertising and no link-layer privacy; the random address cannot change while the
  controller advertises, scans or initiates (Core spec, Vol 4 Part E section 7.8.4);
- a reset, or the loss of its host, puts the controller into its initial state.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass

from bumble import hci, ll
from bumble.controller import Controller, LegacyAdvertiser

from fieldkit import motion, propagation
from fieldkit.ether import Ether
from fieldkit.motion import Position
from fieldkit.virtual_connection import ConnectionEnd

SLOT_S = 0.000_625
# Core spec, Vol 4 Part E section 7.8.5.
DEFAULT_ADVERTISING_INTERVAL_SLOTS = 0x0800
ADVERTISING_INTERVAL_SLOTS = range(0x0020, 0x4001)

_NO_ADDRESS = hci.Address.ANY_RANDOM
_AdvertisingType = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
_ReportType = hci.HCI_LE_Advertising_Report_Event.EventType
_REPORT_TYPES: dict[int, int] = {
    _AdvertisingType.ADV_IND: _ReportType.ADV_IND,
    _AdvertisingType.ADV_SCAN_IND: _ReportType.ADV_SCAN_IND,
    _AdvertisingType.ADV_NONCONN_IND: _ReportType.ADV_NONCONN_IND,
}


@dataclass(frozen=True)
class Advert:
    """One advertising event on the air."""

    event_type: int
    address: hci.Address
    data: bytes
    scan_response_data: bytes

    @property
    def connectable(self) -> bool:
        return self.event_type == _ReportType.ADV_IND

    @property
    def scannable(self) -> bool:
        return self.event_type in (_ReportType.ADV_IND, _ReportType.ADV_SCAN_IND)

    def report(self, rssi_dbm: int) -> bytes:
        """The HCI packet by which a receiver reports this advert."""
        return self._report_head + rssi_dbm.to_bytes(1, "little", signed=True)

    def scan_response(self, rssi_dbm: int) -> bytes:
        """The HCI packet by which an active scanner reports the answer to its scan request."""
        head = _report_head(_ReportType.SCAN_RSP, self.address, self.scan_response_data)
        return head + rssi_dbm.to_bytes(1, "little", signed=True)

    @functools.cached_property
    def _report_head(self) -> bytes:
        # The same for all receivers but for the RSSI in the last byte, so encoded only once.
        return _report_head(self.event_type, self.address, self.data)


def _report_head(event_type: int, address: hci.Address, data: bytes) -> bytes:
    report = hci.HCI_LE_Advertising_Report_Event.Report(
        event_type=event_type,
        address_type=address.address_type,
        address=address,
        data=data,
        rssi=0,
    )
    return bytes(hci.HCI_LE_Advertising_Report_Event(reports=[report]))[:-1]


def recorded_advert(address: str, data: bytes, *, random: bool) -> Advert:
    """A non-connectable advert as it was heard once. ``address``: ``AA:BB:CC:DD:EE:FF``."""
    kind = hci.AddressType.RANDOM_DEVICE if random else hci.AddressType.PUBLIC_DEVICE
    return Advert(_ReportType.ADV_NONCONN_IND, hci.Address(address, kind), data, b"")


class VirtualAdvertiser(LegacyAdvertiser):
    """Sends adverts when a real controller would."""

    controller: VirtualController

    def __init__(self, controller: VirtualController) -> None:
        super().__init__(controller, advertising_interval_min=DEFAULT_ADVERTISING_INTERVAL_SLOTS)
        self._due_s = 0.0

    def start(self) -> None:
        self.stop()
        self.enabled = True
        self._due_s = self.controller.ether.clock.time()
        self._wait()

    def _on_timer_fired(self) -> None:
        ether = self.controller.ether
        interval_s = self.advertising_interval_min * SLOT_S
        number = self.controller.packets_sent
        delay_s = propagation.advertising_delay_s(ether.seed, self.controller.name, number)
        # From when this event was due, not from when the loop got round to it; but a process
        # that was stopped for a while must not make up for the events it missed.
        self._due_s = max(self._due_s + interval_s + delay_s, ether.clock.time())
        self._wait()
        self.send_advertising_data()

    def _wait(self) -> None:
        clock = self.controller.ether.clock
        self.timer_handle = clock.call_at(self._due_s, self._on_timer_fired)

    def send_advertising_data(self) -> None:
        # Directed advertising is not modelled, as in Bumble.
        report_type = _REPORT_TYPES.get(self.advertising_type)
        if report_type is not None and not self.controller.muted:
            advert = Advert(
                report_type, self.address, self.advertising_data, self.scan_response_data
            )
            self.controller.ether.radiate(self.controller, advert)


class VirtualController(Controller):
    """One adapter at a place that may change. Its host is attached by ``fieldkit.hci_port``."""

    le_features = Controller.le_features & ~(
        hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LL_PRIVACY
    )
    le_scan_own_address_type = hci.AddressType.PUBLIC_DEVICE
    le_legacy_advertiser: VirtualAdvertiser

    def __init__(
        self, name: str, ether: Ether, public_address: str, at: Position, tx_power_dbm: int
    ) -> None:
        super().__init__(name, public_address=public_address)
        self.link = self.ether = ether
        self.tx_power_dbm = tx_power_dbm
        self.muted = False
        self.packets_sent = 0  # survives resets, so that no two packets share their fading
        self.le_legacy_advertiser = VirtualAdvertiser(self)
        self._drive = motion.parked(at)
        self._heard: set[bytes] = set()
        ether.join(self)

    # --- place

    @property
    def position(self) -> Position:
        """Where the controller is now."""
        return self._drive.position_at(self.ether.clock.time())

    def move(self, to: Position) -> None:
        """Be somewhere else at once."""
        self._drive = motion.parked(to)

    def drive(self, to: Position, speed_mps: float) -> float:
        """Start driving from here to ``to``; the seconds it takes."""
        self._drive = motion.Drive(self.position, to, speed_mps, self.ether.clock.time())
        return self._drive.duration_s

    # --- receiving

    @property
    def listening(self) -> bool:
        """True if an advert could matter to this controller."""
        return not self.muted and (self.le_scan_enable or self.pending_le_connection is not None)

    def hear(self, advert: Advert, rssi_dbm: int) -> None:
        """Take one advert off the air."""
        if self.le_scan_enable and not self._is_duplicate(advert):
            self._to_host(advert.report(rssi_dbm))
            if advert.scannable and self.le_scan_type:
                self._to_host(advert.scan_response(rssi_dbm))

    def receive(self, advert: Advert, rssi_dbm: int) -> bool:
        """Take one advert that no other controller has sent; whether the host scans for any."""
        scans = self.listening and bool(self.le_scan_enable)
        if scans:
            self.hear(advert, rssi_dbm)
        return scans

    @property
    def wanted(self) -> hci.HCI_LE_Create_Connection_Command | None:
        """The connection that its host waits for."""
        pending = self.pending_le_connection
        return pending if isinstance(pending, hci.HCI_LE_Create_Connection_Command) else None

    def wants(self, advert: Advert) -> bool:
        """True if its host waits for a connection to whoever sent this."""
        return (
            self.wanted is not None
            and advert.connectable
            and self.wanted.peer_address == advert.address
            and advert.address not in self.le_connections
        )

    def count_packet(self) -> int:
        """The number of the packet that is sent now."""
        self.packets_sent += 1
        return self.packets_sent - 1

    def _is_duplicate(self, advert: Advert) -> bool:
        if not self.filter_duplicates:
            return False
        packet = advert.report(0)
        duplicate = packet in self._heard
        self._heard.add(packet)
        return duplicate

    def _to_host(self, packet: bytes) -> None:
        """At once, before whatever is answered now."""
        if self.host is not None:
            self.host.on_packet(packet)

    # Bumble formats each packet for a log that nobody reads: most of what a command costs, and the
    # kernel waits for no answer longer than 2 s.

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """See ``Controller``."""
        if isinstance(packet, hci.HCI_Command):
            self.on_hci_command_packet(packet)
        elif isinstance(packet, hci.HCI_AclDataPacket):
            self.on_hci_acl_data_packet(packet)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """See ``Controller``."""
        if self.host is not None:
            asyncio.get_running_loop().call_soon(self.host.on_packet, bytes(packet))

    # --- initial state

    def reset(self) -> None:
        """Forget everything a host has asked for; peers see their connections time out."""
        self.le_legacy_advertiser.stop()
        self.le_legacy_advertiser = VirtualAdvertiser(self)
        self.le_scan_enable = False
        self.le_scan_type = 0
        self.le_scan_own_address_type = hci.AddressType.PUBLIC_DEVICE
        self.filter_duplicates = False
        self.pending_le_connection = None
        self.random_address = _NO_ADDRESS
        self.le_connections.clear()

    # --- connections

    def own_address(self, own_address_type: int) -> hci.Address:
        """The address that a host means by an own address type."""
        public = own_address_type == hci.OwnAddressType.PUBLIC
        return self.public_address if public else self.random_address

    def enter_connection(
        self,
        role: hci.Role,
        self_address: hci.Address,
        peer_address: hci.Address,
        parameters: hci.HCI_LE_Create_Connection_Command,
    ) -> ConnectionEnd:
        """Be one end of a connection from now on, and tell the host."""
        end = ConnectionEnd(self, role, self_address, peer_address)
        self.le_connections[peer_address] = end
        self._report_connection(
            hci.HCI_ErrorCode.SUCCESS, end.handle, role, peer_address, parameters
        )
        return end

    def _report_connection(
        self,
        status: hci.HCI_ErrorCode,
        handle: int,
        role: hci.Role,
        peer_address: hci.Address,
        parameters: hci.HCI_LE_Create_Connection_Command,
    ) -> None:
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=status,
                connection_handle=handle,
                role=role,
                peer_address_type=peer_address.address_type,
                peer_address=peer_address,
                connection_interval=parameters.connection_interval_min,
                peripheral_latency=parameters.max_latency,
                supervision_timeout=parameters.supervision_timeout,
                central_clock_accuracy=0,
            )
        )

    # --- HCI commands, by the names under which Bumble calls them

    def on_hci_command_packet(self, command: hci.HCI_Command) -> None:
        # Bumble leaves a command of unknown form without an answer, and its host waiting.
        if isinstance(command, hci.HCI_SyncCommand) or hasattr(self, f"on_{command.name.lower()}"):
            super().on_hci_command_packet(command)
        else:
            self._send_hci_command_status(
                hci.HCI_ErrorCode.UNKNOWN_HCI_COMMAND_ERROR, command.op_code
            )

    def on_hci_reset_command(
        self, _command: hci.HCI_Reset_Command
    ) -> hci.HCI_StatusReturnParameters:
        self.reset()
        return _status(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_set_random_address_command(
        self, command: hci.HCI_LE_Set_Random_Address_Command
    ) -> hci.HCI_StatusReturnParameters:
        if self.is_advertising or self.le_scan_enable or self.pending_le_connection:
            return _status(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        return super().on_hci_le_set_random_address_command(command)

    def on_hci_le_set_advertising_parameters_command(
        self, command: hci.HCI_LE_Set_Advertising_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        if self.is_advertising:
            return _status(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        slots = (command.advertising_interval_min, command.advertising_interval_max)
        if slots[0] > slots[1] or any(n not in ADVERTISING_INTERVAL_SLOTS for n in slots):
            return _status(hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR)
        return super().on_hci_le_set_advertising_parameters_command(command)

    def on_hci_le_set_advertising_enable_command(
        self, command: hci.HCI_LE_Set_Advertising_Enable_Command
    ) -> hci.HCI_StatusReturnParameters:
        own_address_type = self.le_legacy_advertiser.own_address_type
        if command.advertising_enable and self._lacks_address(own_address_type):
            return _status(hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR)
        return super().on_hci_le_set_advertising_enable_command(command)

    def on_hci_le_set_scan_enable_command(
        self, command: hci.HCI_LE_Set_Scan_Enable_Command
    ) -> hci.HCI_StatusReturnParameters:
        if command.le_scan_enable and self._lacks_address(self.le_scan_own_address_type):
            return _status(hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR)
        self._heard.clear()
        return super().on_hci_le_set_scan_enable_command(command)

    def on_hci_le_read_advertising_physical_channel_tx_power_command(
        self, _command: hci.HCI_LE_Read_Advertising_Physical_Channel_Tx_Power_Command
    ) -> hci.HCI_LE_Read_Advertising_Physical_Channel_Tx_Power_ReturnParameters:
        return hci.HCI_LE_Read_Advertising_Physical_Channel_Tx_Power_ReturnParameters(
            status=hci.HCI_ErrorCode.SUCCESS, tx_power_level=self.tx_power_dbm
        )

    def on_hci_le_create_connection_command(
        self, command: hci.HCI_LE_Create_Connection_Command
    ) -> None:
        if self._lacks_address(command.own_address_type):
            self._send_hci_command_status(
                hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR, command.op_code
            )
        else:
            super().on_hci_le_create_connection_command(command)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        wanted, self.pending_le_connection = self.wanted, None
        if wanted is None:
            return _status(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        cancelled = hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        # Once the command was answered.
        asyncio.get_running_loop().call_soon(
            lambda: self._report_connection(
                cancelled, 0, hci.Role.CENTRAL, wanted.peer_address, wanted
            )
        )
        return _status(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_disconnect_command(self, command: hci.HCI_Disconnect_Command) -> None:
        connection = self.find_le_connection_by_handle(command.connection_handle)
        status = hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        if connection is not None:
            status = hci.HCI_ErrorCode.SUCCESS  # so far
            connection.send_ll_control_pdu(ll.TerminateInd(command.reason))
        self._send_hci_command_status(status, command.op_code)

    def _lacks_address(self, own_address_type: int) -> bool:
        return own_address_type == hci.OwnAddressType.RANDOM and self.random_address == _NO_ADDRESS


def _status(code: hci.HCI_ErrorCode) -> hci.HCI_StatusReturnParameters:
    return hci.HCI_StatusReturnParameters(status=code)
