"""The virtual car: a Debian with the kernel's own Bluetooth and Wi-Fi."""
