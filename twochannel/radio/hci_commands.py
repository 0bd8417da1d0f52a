"""The HCI commands that the radio gives its controller, as pure functions.

Legacy advertising and scanning commands are used on every controller, as they are the ones that
all of them have (Core spec, Vol 4 Part E section 7.8.5 ff.).
"""

from __future__ import annotations

from typing import Final

from bumble import hci

# Core spec, Vol 4 Part E section 7.8.5: 0x0020 to 0x4000 slots of 0.625 ms.
ADVERTISING_INTERVAL_MS: Final = range(20, 10_241)
_ALL_CHANNELS: Final = 0b111
_SLOT_US: Final = 625

# Interval and window in slots; equal, so that the receiver never sleeps.
# 60 ms is what the kernel and phones use: long enough to catch all three channels in turn.
_SCAN_INTERVAL_SLOTS: Final = 96

# In units of 1.25 ms: 15 to 30 ms, fast for a request and its answer, and within Apple's limits.
_CONNECTION_INTERVAL: Final = (12, 24)
# In units of 10 ms: who was not heard for 2 s is gone.
_SUPERVISION_TIMEOUT: Final = 200

_AdvertisingType = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
_Scan = hci.HCI_LE_Set_Scan_Parameters_Command


def interval_slots(interval_ms: int) -> int:
    """An advertising interval in slots. ValueError if it is not 20 to 10240 ms."""
    if interval_ms not in ADVERTISING_INTERVAL_MS:
        raise ValueError("an advertising interval is 20 to 10240 ms")
    return interval_ms * 1000 // _SLOT_US


def advertising_parameters(
    slots: int, *, connectable: bool
) -> hci.HCI_LE_Set_Advertising_Parameters_Command:
    """Undirected adverts from the random address on all channels."""
    return hci.HCI_LE_Set_Advertising_Parameters_Command(
        advertising_interval_min=slots,
        advertising_interval_max=slots,
        advertising_type=(
            _AdvertisingType.ADV_IND if connectable else _AdvertisingType.ADV_NONCONN_IND
        ),
        own_address_type=hci.OwnAddressType.RANDOM,
        peer_address_type=hci.Address.PUBLIC_DEVICE_ADDRESS,
        peer_address=hci.Address.ANY,
        advertising_channel_map=_ALL_CHANNELS,
        advertising_filter_policy=0,
    )


def advertising_data(data: bytes) -> hci.HCI_LE_Set_Advertising_Data_Command:
    """What the adverts hold."""
    return hci.HCI_LE_Set_Advertising_Data_Command(advertising_data=data)


def advertising_enable(*, on: bool) -> hci.HCI_LE_Set_Advertising_Enable_Command:
    """Start or stop advertising."""
    return hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=int(on))


def scan_parameters() -> hci.HCI_LE_Set_Scan_Parameters_Command:
    """Passive scanning without a pause.

    Under a random address, as dongles without an address of their own need one; a passive
    scanner never sends it.
    """
    return _Scan(
        le_scan_type=_Scan.PASSIVE_SCANNING,
        le_scan_interval=_SCAN_INTERVAL_SLOTS,
        le_scan_window=_SCAN_INTERVAL_SLOTS,
        own_address_type=hci.OwnAddressType.RANDOM,
        scanning_filter_policy=_Scan.BASIC_UNFILTERED_POLICY,
    )


def scan_enable(*, on: bool) -> hci.HCI_LE_Set_Scan_Enable_Command:
    """Start or stop scanning, with every repetition reported."""
    return hci.HCI_LE_Set_Scan_Enable_Command(le_scan_enable=int(on), filter_duplicates=0)


def fresh_address() -> hci.HCI_LE_Set_Random_Address_Command:
    """A non-resolvable private address: 46 random bits below two zero bits (Vol 6 Part B 1.3.2)."""
    return hci.HCI_LE_Set_Random_Address_Command(
        random_address=hci.Address.generate_private_address()
    )


def create_connection(
    address: str, *, random_address: bool
) -> hci.HCI_LE_Create_Connection_Command:
    """Connect to whoever advertises under that address, from the random address."""
    kind = hci.AddressType.RANDOM_DEVICE if random_address else hci.AddressType.PUBLIC_DEVICE
    least, most = _CONNECTION_INTERVAL
    return hci.HCI_LE_Create_Connection_Command(
        le_scan_interval=_SCAN_INTERVAL_SLOTS,
        le_scan_window=_SCAN_INTERVAL_SLOTS,
        initiator_filter_policy=0,
        peer_address_type=kind,
        peer_address=hci.Address(address, kind),
        own_address_type=hci.OwnAddressType.RANDOM,
        connection_interval_min=least,
        connection_interval_max=most,
        max_latency=0,
        supervision_timeout=_SUPERVISION_TIMEOUT,
        min_ce_length=0,
        max_ce_length=0,
    )


def disconnect(handle: int) -> hci.HCI_Disconnect_Command:
    """End a connection as a user would."""
    return hci.HCI_Disconnect_Command(
        connection_handle=handle,
        reason=hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR,
    )
