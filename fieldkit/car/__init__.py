"""The virtual car: a Debian in QEMU, with the kernel's own Bluetooth and Wi-Fi."""
