"""deploy/install in the car: real units under the real systemd, on the real bluetoothd."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from pwd import getpwall

import pytest
import pytest_asyncio

from fieldkit.car.bluetooth import Adapters
from fieldkit.car.daemon import Daemon, run
from fieldkit.car.machines import PHONE
from fieldkit.sniffer import SOMEBODY
from tests.car.deployment import (
    DEADLINE_S,
    SERVICES,
    TREE,
    add_drop_in,
    ask,
    enrol_all,
    eventually_paid,
    everything,
    install,
    installed_profile,
    make_environment,
    owners_below,
    process_of,
    remove_drop_in,
    says,
    shown,
    started_anew,
    told_by_kernel,
    wifi_radios,
)
from twochannel.radio.backends import open_radio

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAN = """
seed = 11
[propagation]
shadowing_sd_db = 0
fading_sd_db = 0
loss_probability = 0
[[controllers]]
name = "jack"
host = "vhci"
[[controllers]]
name = "phone"
host = "vhci"
x = 1
[[controllers]]
name = "lane"
host = "vhci"
x = 3
[[controllers]]
name = "passer-by"
x = 5
"""
#: Phone and jack are one machine here, with one network between them.
_INTERFACE = "car0"
_ADDRESS = "10.99.0.1/24"
_IMPATIENT = """\
[Service]
WatchdogSec=3
Environment=CIGARJACK_RADIO_PATIENCE_S=3
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapters(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Adapters]:
    """All four parties installed, enrolled, paired and running; in the end no trace of them."""
    await run("ip", "link", "add", _INTERFACE, "type", "dummy")
    await run("ip", "address", "add", _ADDRESS, "dev", _INTERFACE)
    await run("ip", "link", "set", _INTERFACE, "up", "multicast", "on")
    make_environment()
    async with contextlib.AsyncExitStack() as opened:
        folder = tmp_path_factory.mktemp("bluetooth")
        adapters = await opened.enter_async_context(Adapters(PLAN, folder))
        passer_by = await opened.enter_async_context(open_radio(adapters.radio("passer-by")))
        await passer_by.advertiser.broadcast(SOMEBODY)
        # The deployment's own must do what the bench's does elsewhere.
        await remove_drop_in("bluetooth", "experimental")
        before = everything()
        # Each has an adapter of its own: an agent may not scan where another changes its address.
        jack = ("--radio", adapters.radio("jack"), "--access-point", "2.4")
        await install("server", "jack", *jack)
        await install("phone", "--radio", adapters.radio("phone"))
        await install("terminal", "--radio", adapters.radio("lane"))
        await enrol_all()
        yield adapters
        await install("uninstall", "--purge")
        assert everything() == before
        assert not {user.pw_name for user in getpwall()} & set(SERVICES)
        services = await run("systemctl", "list-unit-files", "--type=service", "--no-legend")
        assert not [service for service in SERVICES if f"{service}.service" in services]
    await run("ip", "link", "delete", _INTERFACE)


async def test_a_payment_from_service_to_service(adapters: Adapters) -> None:
    """D-Bus, mDNS, TLS and SQLite bear the hardening of the units."""
    await eventually_paid("order-1")
    await says("cigarjack", "Broadcasting.")
    await says("payment-device", "Listening; the server answers.")
    await says("phone-agent", "Connected to https://127.0.0.1:8443.")
    await says("cigarjack-server", "Serving https://0.0.0.0:8443.")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_runs_as_its_user_in_its_own_folder(
    adapters: Adapters, service: str
) -> None:
    unit = await shown(service, "ActiveState", "User", "Type", "UnitFileState")
    assert unit == {
        "ActiveState": "active",
        "User": service,
        "Type": "notify",
        "UnitFileState": "enabled",
    }
    assert owners_below(Path("/var/lib") / service) == {service}
    status = told_by_kernel(await process_of(service), "status")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapEff:\t0000000000000000" in status


async def test_installed_twice_nothing_changes(adapters: Adapters) -> None:
    processes = [await process_of(service) for service in SERVICES]
    before = everything()
    said = await install("jack", "terminal", "phone", "server")
    assert said.startswith("Nothing to do")
    assert everything() == before
    assert [await process_of(service) for service in SERVICES] == processes


async def test_bluetoothd_runs_as_the_drop_ins_want_it(adapters: Adapters) -> None:
    unit = await shown("bluetooth", "ActiveState", "Restart", "MainPID")
    assert (unit["ActiveState"], unit["Restart"]) == ("active", "always")
    assert told_by_kernel(int(unit["MainPID"]), "cmdline").split("\0")[1] == "-E"


@pytest.mark.parametrize("service", ["cigarjack", "bluetooth"])
async def test_what_is_killed_is_started_anew(adapters: Adapters, service: str) -> None:
    process = await process_of(service)
    os.kill(process, signal.SIGKILL)
    await started_anew(service, process)
    await says("cigarjack", "Broadcasting.")
    await eventually_paid(f"after-{process}")


async def test_a_jack_whose_radio_stays_blocked_is_started_anew_and_recovers(
    adapters: Adapters,
) -> None:
    await add_drop_in("cigarjack", "impatient", _IMPATIENT)
    await run("systemctl", "restart", "cigarjack.service")
    process = await process_of("cigarjack")
    await says("cigarjack", "Broadcasting.")
    await run("rfkill", "block", "bluetooth")
    await says("cigarjack", "rfkill")
    await started_anew("cigarjack", process)
    await says("cigarjack", "rfkill")
    await run("rfkill", "unblock", "bluetooth")
    await says("cigarjack", "Broadcasting.")
    await eventually_paid("after-rfkill")
    journal = await run("journalctl", "--unit=cigarjack.service", "--no-pager")
    assert "Watchdog timeout" in journal
    assert "patience_ended" in journal
    await remove_drop_in("cigarjack", "impatient")
    await run("systemctl", "restart", "cigarjack.service")


async def test_the_jack_is_an_access_point_that_gives_its_phone_an_address(
    adapters: Adapters, tmp_path: Path
) -> None:
    """NetworkManager takes up the profile that was installed; wpa_supplicant is the phone."""
    profile = installed_profile()
    async with wifi_radios() as phones:
        supplicant = tmp_path / "wpa_supplicant.conf"
        supplicant.write_text(
            f'network={{\nssid="{profile["wifi"]["ssid"]}"\nkey_mgmt=WPA-PSK\n'
            f'psk="{profile["wifi-security"]["psk"]}"\n}}\n'
        )
        join = PHONE.command("wpa_supplicant", "-i", phones, "-c", str(supplicant))
        async with Daemon(join, tmp_path / "wpa_supplicant.log") as station:
            await station.said("CTRL-EVENT-CONNECTED", DEADLINE_S)
            ask_for = ("busybox", "udhcpc", "-i", phones, "-n", "-q", "-f", "-s", "/bin/true")
            async with Daemon(PHONE.command(*ask_for), tmp_path / "udhcpc.log") as client:
                await client.said("lease of 10.77.0.", DEADLINE_S)


async def test_the_profile_for_5_ghz_is_one_that_network_manager_takes(adapters: Adapters) -> None:
    offline = "nmcli --offline connection modify connection.autoconnect yes"
    template = TREE / "deploy" / "network" / "access-point.nmconnection"
    taken = await run("sh", "-c", f"sed 's/^psk=$/psk=12345678/' {template} | {offline}")
    for line in ("mode=ap", "band=a", "channel=36", "powersave=2", "pmf=1", "method=shared"):
        assert f"\n{line}\n" in taken


async def test_a_command_of_a_stranger_is_sent_to_sudo(adapters: Adapters) -> None:
    said = await run(
        *("runuser", "-u", "nobody", "--", "sh", "-c"), "/usr/local/bin/cigarjack status 2>&1 || :"
    )
    assert said == "The state of cigarjack belongs to its service. Type: sudo cigarjack status\n"


async def test_commands_run_as_the_user_of_the_service(adapters: Adapters) -> None:
    assert (await ask("cigarjack", "status"))["radio_problem"] is None
