"""A server as a service whose keys are in a token (docs/keys.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.container.machine import TREE, Machine

_SERVER = "cigarjack-server"
_STATE = f"/var/lib/{_SERVER}"
_PIN = "/etc/cigarjack-pin"
_URI = f"pkcs11:token=machine?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source={_PIN}"
#: A stranger to both: what opens it is no token.
_OTHER = ("10", "229")


@pytest.fixture(scope="module")
def guarded(machine: Machine) -> Iterator[Machine]:
    """As docs/keys.md has it: installed, the token made ready, init, started."""
    try:
        said = machine.install_offline("server", "--keys", _URI)
        assert f"Next: make the token ready (docs/keys.md), then: sudo {_SERVER} init" in said
        assert not machine.file(f"{_STATE}/identity.jwt").exists()
        make_token(machine)
        machine(_SERVER, "init", "--host", "0.0.0.0")
        machine("systemctl", "start", _SERVER)
        yield machine
    finally:
        machine.install("uninstall", "--purge")
        machine.run("groupdel", "tss")
        machine.file(_PIN).unlink(missing_ok=True)


def make_token(machine: Machine) -> None:
    """Of SoftHSM, which writes into its own folder."""
    pin = secrets.token_hex(8)
    machine.file(_PIN).write_text(pin)
    machine("chown", _SERVER, _PIN)
    machine("chmod", "600", _PIN)
    machine("usermod", "--append", "--groups", "softhsm", _SERVER)
    token = ("--init-token", "--free", "--label", "machine", "--pin", pin, "--so-pin", pin)
    machine("runuser", "-u", _SERVER, "--", "softhsm2-util", *token)
    drop_in = machine.file(f"/etc/systemd/system/{_SERVER}.service.d/softhsm.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nReadWritePaths=/var/lib/softhsm/tokens\n")
    machine("systemctl", "daemon-reload")


def test_an_upgrade_keeps_the_library_of_the_token(guarded: Machine) -> None:
    assert not guarded.file(f"{_STATE}/keys/signing.pem").exists()
    with guarded.file(TREE / "server" / "__init__.py").open("a") as source:
        source.write("# newer\n")
    guarded.install_offline("server")
    guarded("/opt/cigarjack/current/bin/python", "-c", "import pkcs11")
    assert guarded.shown(_SERVER, "ActiveState") == "active"
    assert f'keys = "{_URI}"' in guarded.file(f"{_STATE}/config.toml").read_text()


def test_a_service_reaches_the_one_device_that_was_asked_for(guarded: Machine) -> None:
    refused = guarded.run(str(TREE / "deploy/install"), "server", "--key-device", "tpm")
    assert "needs the group tss" in refused.stderr
    guarded("groupadd", "--system", "tss")
    guarded("mknod", "--mode=660", "/dev/tpmrm0", "c", "10", "237")
    guarded("mknod", "--mode=666", "/dev/i2c-1", "c", *_OTHER)
    guarded("chgrp", "tss", "/dev/tpmrm0")
    assert not reaches(guarded, "/dev/tpmrm0")
    guarded.install_offline("server", "--key-device", "tpm")
    assert reaches(guarded, "/dev/tpmrm0")
    assert not reaches(guarded, "/dev/i2c-1")
    guarded.install_offline("server")
    assert reaches(guarded, "/dev/tpmrm0")
    guarded.install_offline("server", "--key-device", "none")
    assert not reaches(guarded, "/dev/tpmrm0")


def reaches(machine: Machine, device: str) -> bool:
    """Whether a process of the service, as its user and with its groups, may open a device."""
    process = machine.shown(_SERVER, "MainPID")
    groups = machine("sed", "-n", "s/^Groups:\\s*//p", f"/proc/{process}/status").split()
    user = machine("id", "--user", _SERVER).strip()
    enter = (
        f"echo $$ > /sys/fs/cgroup/system.slice/{_SERVER}.service/cgroup.procs && "
        f"exec nsenter --target {process} --mount setpriv --reuid {user} "
        f"--groups {','.join(groups)} sh -c ': < {device}'"
    )
    return machine.run("sh", "-c", enter).returncode == 0
