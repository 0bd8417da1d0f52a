"""Every D-Bus name of the BlueZ backend, with the document that defines it.

D-Bus: https://dbus.freedesktop.org/doc/dbus-specification.html, "Message Bus Messages" and
"Standard Interfaces". BlueZ: https://github.com/bluez/bluez/tree/master/doc, the file named at
each group.
"""

from __future__ import annotations

from typing import Final

# The message bus.
BUS: Final = "org.freedesktop.DBus"
BUS_PATH: Final = "/org/freedesktop/DBus"
BUS_INTERFACE: Final = "org.freedesktop.DBus"
GET_NAME_OWNER: Final = "GetNameOwner"
ADD_MATCH: Final = "AddMatch"
NAME_OWNER_CHANGED: Final = "NameOwnerChanged"
NAME_HAS_NO_OWNER: Final = "org.freedesktop.DBus.Error.NameHasNoOwner"
SERVICE_UNKNOWN: Final = "org.freedesktop.DBus.Error.ServiceUnknown"
NO_REPLY: Final = "org.freedesktop.DBus.Error.NoReply"
UNKNOWN_OBJECT: Final = "org.freedesktop.DBus.Error.UnknownObject"
ACCESS_DENIED: Final = "org.freedesktop.DBus.Error.AccessDenied"

# Standard interfaces.
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
GET_ALL: Final = "GetAll"
SET: Final = "Set"
PROPERTIES_CHANGED: Final = "PropertiesChanged"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
GET_MANAGED_OBJECTS: Final = "GetManagedObjects"

BLUEZ: Final = "org.bluez"
ROOT_PATH: Final = "/"

# org.bluez.Adapter.rst
ADAPTER: Final = "org.bluez.Adapter1"
ADDRESS: Final = "Address"
POWERED: Final = "Powered"
#: Since BlueZ 5.65, experimental: bluetoothd has it only when started with -E.
POWER_STATE: Final = "PowerState"
OFF_BLOCKED: Final = "off-blocked"
DISCOVERING: Final = "Discovering"
#: usb:v1D6Bp0246dXXYY: bluetoothd's version in hexadecimal, unless main.conf sets a DeviceID.
MODALIAS: Final = "Modalias"
MANUFACTURER: Final = "Manufacturer"
VERSION: Final = "Version"
REMOVE_DEVICE: Final = "RemoveDevice"

# org.bluez.Device.rst
DEVICE: Final = "org.bluez.Device1"
DEVICE_ADAPTER: Final = "Adapter"
CONNECTED: Final = "Connected"
PAIRED: Final = "Paired"
DISCONNECT: Final = "Disconnect"
ADDRESS_TYPE: Final = "AddressType"
RANDOM: Final = "random"
RSSI: Final = "RSSI"

# org.bluez.LEAdvertisingManager.rst
ADVERTISING_MANAGER: Final = "org.bluez.LEAdvertisingManager1"
REGISTER: Final = "RegisterAdvertisement"
UNREGISTER: Final = "UnregisterAdvertisement"
ACTIVE_INSTANCES: Final = "ActiveInstances"
#: Those that are still free.
SUPPORTED_INSTANCES: Final = "SupportedInstances"
#: Experimental until the advertising intervals became stable, in the same release.
SUPPORTED_CAPABILITIES: Final = "SupportedCapabilities"
#: Listed by bluetoothd only for controllers with extended advertising.
SECONDARY_CHANNELS: Final = "SupportedSecondaryChannels"

# org.bluez.LEAdvertisement.rst. The intervals are experimental before BlueZ 5.77: bluetoothd then
# reads them only when it was started with -E.
ADVERTISEMENT: Final = "org.bluez.LEAdvertisement1"
TYPE: Final = "Type"
TYPE_BROADCAST: Final = "broadcast"
TYPE_PERIPHERAL: Final = "peripheral"
DISCOVERABLE: Final = "Discoverable"
SERVICE_UUIDS: Final = "ServiceUUIDs"
SERVICE_DATA: Final = "ServiceData"
MANUFACTURER_DATA: Final = "ManufacturerData"
MIN_INTERVAL: Final = "MinInterval"
MAX_INTERVAL: Final = "MaxInterval"
RELEASE: Final = "Release"

# org.bluez.AdvertisementMonitorManager.rst and org.bluez.AdvertisementMonitor.rst
MONITOR_MANAGER: Final = "org.bluez.AdvertisementMonitorManager1"
REGISTER_MONITOR: Final = "RegisterMonitor"
UNREGISTER_MONITOR: Final = "UnregisterMonitor"
MONITOR: Final = "org.bluez.AdvertisementMonitor1"
TYPE_OR_PATTERNS: Final = "or_patterns"
PATTERNS: Final = "Patterns"
ACTIVATE: Final = "Activate"
DEVICE_FOUND: Final = "DeviceFound"
DEVICE_LOST: Final = "DeviceLost"

# org.bluez.GattManager.rst and org.bluez.GattCharacteristic.rst
GATT_MANAGER: Final = "org.bluez.GattManager1"
REGISTER_APPLICATION: Final = "RegisterApplication"
WRITE: Final = "WriteValue"
CONFIRM: Final = "Confirm"

# Errors, from the same files.
FAILED: Final = "org.bluez.Error.Failed"
BLOCKED: Final = "org.bluez.Error.Blocked"
IN_PROGRESS: Final = "org.bluez.Error.InProgress"
NOT_PERMITTED: Final = "org.bluez.Error.NotPermitted"
NOT_READY: Final = "org.bluez.Error.NotReady"
ALREADY_EXISTS: Final = "org.bluez.Error.AlreadyExists"
DOES_NOT_EXIST: Final = "org.bluez.Error.DoesNotExist"
