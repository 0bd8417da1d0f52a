"""PURE. Every check of the doctor, in the order of the report; docs/doctor.md is made of it."""

from __future__ import annotations

from typing import Final

from twochannel.doctor.findings import Check

#: BlueZ's own switch, which is as good as ``bluetoothd -E`` and needs no unit to be edited.
ENABLE_EXPERIMENTAL: Final = (
    "sudo sed -i 's/^#* *Experimental *=.*/Experimental = true/' /etc/bluetooth/main.conf"
    " && sudo systemctl restart bluetooth"
)

UPGRADE: Final = "sudo apt update && sudo apt full-upgrade && sudo reboot"

SERVICE: Final = Check(
    "radio.service",
    "bluetoothd",
    "the owner of org.bluez on the system bus",
    "bluetoothd runs and may be used",
    "The BlueZ radio does everything through bluetoothd.",
    "sudo systemctl start bluetooth",
)
PAIR: Final = Check(
    "radio.pair",
    "Kernel and BlueZ",
    "the running kernel and the running bluetoothd, against the table of known-bad ones below",
    "a kernel and a BlueZ that work together",
    "Some pairs refuse to advertise or lose their scan, whatever an agent does.",
    UPGRADE,
)
RFKILL: Final = Check(
    "radio.rfkill",
    "rfkill",
    "the Bluetooth switches in /sys/class/rfkill",
    "neither soft nor hard blocked",
    "A blocked adapter cannot be switched on by any agent.",
    "rfkill unblock bluetooth",
)
ADAPTER: Final = Check(
    "radio.adapter",
    "Adapter",
    "the adapters of bluetoothd, and which of them the setting `radio` means",
    "the adapter is there",
    "Names like hci0 move when adapters come and go: choose one by address. On a Raspberry Pi "
    "the adapter behind the UART is missing now and then after a boot.",
    "plug it in, see `bluetoothctl list` for its address, or reboot",
)
FIRMWARE: Final = Check(
    "radio.firmware",
    "Controller and firmware",
    "the manufacturer and version that bluetoothd tells, else debugfs, which is root's",
    "is told; a Broadcom or Cypress chip has loaded its firmware file; builds are not judged",
    "What a report about the radio should name. Without its file such a chip runs the firmware "
    "that it was made with, faults and all.",
    "run the doctor with sudo",
)
POWERED: Final = Check(
    "radio.powered",
    "Adapter power",
    "Powered and Discovering of org.bluez.Adapter1",
    "on",
    "An agent switches its adapter on itself; what switches it off again is another program.",
    "bluetoothctl power on",
)
EXPERIMENTAL: Final = Check(
    "radio.experimental",
    "Experimental interfaces",
    "whether bluetoothd shows SupportedCapabilities (stable since BlueZ 5.77, together with the "
    "advertising intervals) and AdvertisementMonitorManager1 (stable since 5.79)",
    "advertising intervals and advertisement monitors are there",
    "Without intervals a beacon comes every 1.28 s. Without monitors the kernel has the "
    "controller drop repetitions, so that a level comes once in seconds.",
    ENABLE_EXPERIMENTAL,
)
SLOTS: Final = Check(
    "radio.slots",
    "Advertising slots",
    "ActiveInstances and SupportedInstances (those still free) of org.bluez.LEAdvertisingManager1",
    "one free, and no advert of another program",
    "Adverts of other programs take turns with ours; without a free slot ours is refused.",
    "end the other programs that advertise on this adapter",
)
AGENT: Final = Check(
    "radio.agent",
    "Radio of the running agent",
    "what the running agent says of its radio on its control socket",
    "it works",
    "While the agent runs the adapter is its own: the doctor asks instead of measuring.",
    "see the log of the agent",
)
OPENS: Final = Check(
    "radio.opens",
    "Opening the radio",
    "the radio of the setting `radio`, opened as the agent does",
    "it opens",
    "What the agent meets when it starts.",
    "check the setting `radio`",
)
HEARS: Final = Check(
    "radio.hears",
    "Adverts heard",
    "every advert of anybody, for some seconds",
    "at least one a second; where nobody sends, nothing can be said",
    "A deaf radio looks like a quiet place: put a phone or another agent beside it.",
    "put a sender beside it and look again; if nothing comes, unplug the adapter or reboot",
    "adverts/s",
)
BLIND: Final = Check(
    "radio.blind",
    "Longest blind window",
    "the longest time without any advert while others are heard",
    "below 2 s, for the jack waits as long for a lane",
    "BlueZ pauses its discovery for 5 s at a time unless a filter is set, as the agents do. "
    "On a Raspberry Pi a busy 2.4 GHz Wi-Fi has the same effect.",
    "end other programs that scan (bluetoothctl scan off); use 5 GHz Wi-Fi or a USB adapter",
    "s",
)
RSSI_STEP: Final = Check(
    "radio.rssi_step",
    "RSSI granularity",
    "changes of level between adverts of the same sender",
    "steps of 1 dB or so",
    "Without a filter BlueZ tells levels in steps of 8 dB, as much as the lead that decides "
    "between two lanes.",
    "end other programs that scan without a filter (bluetoothctl scan off), and restart bluetooth",
    "dB",
)
ADVERTISES: Final = Check(
    "radio.advertises",
    "Advertising",
    "one broadcast of a few seconds under a UUID that nobody uses",
    "it is accepted",
    "A jack that cannot advertise is not there; a terminal cannot prove its lane.",
    "see the rows on rfkill, slots, and kernel and BlueZ",
)
INTERVAL: Final = Check(
    "radio.interval",
    "Advertising interval",
    "what bluetoothd and the kernel make of the interval that is asked for; measured if another "
    "idle adapter of this machine can hear the broadcast",
    "as asked; without extended advertising the kernel makes it 100 to 150 ms at the least",
    "bluetoothd that takes no interval advertises every 1.28 s, too slow for a car that drives in.",
    ENABLE_EXPERIMENTAL,
    "ms",
)
WIFI_BAND: Final = Check(
    "wifi.band",
    "Wi-Fi band",
    "the channel that iw tells, and whether Wi-Fi and Bluetooth are one chip",
    "connected; at 5 GHz if they are one chip",
    "On a Raspberry Pi, scanning for Bluetooth and Wi-Fi at 2.4 GHz share one antenna and hurt "
    "each other.",
    "connect it to a 5 GHz network",
    "MHz",
)
WIFI_POWER_SAVE: Final = Check(
    "wifi.power_save",
    "Wi-Fi power save",
    "the power save that iw tells",
    "off",
    "A Wi-Fi that sleeps misses multicast, so that the phone does not find the jack.",
    "sudo iw dev wlan0 set power_save off",
)
MDNS: Final = Check(
    "network.mdns",
    "mDNS",
    "a jack: whether an announcement on its own interfaces comes back to it; a phone: whether it "
    "sees its paired jacks",
    "heard",
    "Phones find their jack by mDNS. That the jack hears itself proves its own machine, not "
    "the access point.",
    "join the same Wi-Fi, and switch client isolation off at the access point",
)
SERVER_REACHABLE: Final = Check(
    "server.reachable",
    "Server",
    "a TCP connection to the server of the enrolment",
    "connects",
    "Without the server nothing can be paid.",
    "check the network, and that the server runs: cigarjack-server run",
    "ms",
)
SERVER_PIN: Final = Check(
    "server.pin",
    "Server's certificate",
    "a TLS handshake against the certificate that was pinned at enrolment",
    "it is the pinned one",
    "Another certificate is another server, or somebody in between.",
    "find out what answers there; if the server was set up anew, enrol with another --state",
)
SERVER_CLOCK: Final = Check(
    "server.clock",
    "Clock against the server",
    "the server's time in its answer, less this machine's",
    "less than 60 s apart",
    "Statements carry times. An agent corrects itself by the server's answers, at the price of "
    "one more round trip.",
    "sudo timedatectl set-ntp true",
    "s",
)
CLOCK_SOURCE: Final = Check(
    "clock.source",
    "Clock source",
    "the kernel's clocksource, and whether there is a real-time clock",
    "a clocksource that is not jiffies",
    "Without a real-time clock the machine wakes up in the past; jack and server cope with that.",
    "reboot; if it stays so, look for `clocksource` in `dmesg`",
)
CLOCK_SYNCHRONISED: Final = Check(
    "clock.synchronised",
    "Clock synchronised",
    "adjtimex(2): whether a time service disciplines the clock, and its greatest error",
    "synchronised",
    "The trace and the log are told by this clock. A jack has another one.",
    "sudo timedatectl set-ntp true",
    "s",
)
CLOCK_TRUST: Final = Check(
    "clock.trust",
    "The jack's own clock",
    "whether the jack knows the time, by its phone and in this boot",
    "trusted",
    "A jack that does not know the time is silent until its phone has told it.",
    "bring the paired phone into the same Wi-Fi and keep `phone-agent run` running",
)
VOLTAGE: Final = Check(
    "power.voltage",
    "Supply voltage",
    "get_throttled of the Raspberry Pi's firmware, or the kernel's rpi_volt sensor",
    "never too low since the boot",
    "Under-voltage resets USB and radios and damages cards, most of all in a car.",
    "use a supply of 5.1 V and 3 A or more with a short thick cable",
)
DISK_SYNC: Final = Check(
    "disk.sync",
    "Disk synchronisation",
    "fsync of 4 KiB in the state folder, the median of 20",
    "below 50 ms, on a disk that outlives a power cut",
    "What an agent acknowledges is on the disk before; every payment waits for it.",
    "use a better card or an SSD, and keep other writers away from it",
    "ms",
)

CHECKS: Final = (
    *(SERVICE, PAIR, RFKILL, ADAPTER, FIRMWARE, POWERED, EXPERIMENTAL, SLOTS),
    *(AGENT, OPENS, HEARS, BLIND, RSSI_STEP, ADVERTISES, INTERVAL),
    *(WIFI_BAND, WIFI_POWER_SAVE, MDNS, SERVER_REACHABLE, SERVER_PIN, SERVER_CLOCK),
    *(CLOCK_SOURCE, CLOCK_SYNCHRONISED, CLOCK_TRUST, VOLTAGE, DISK_SYNC),
)
