"""The host's side of a run, with a program in QEMU's place that ends as it may.

The real one needs a disk that takes minutes to build; tests/car runs in it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import psutil
import pytest

from fieldkit.car import machine, qemu
from fieldkit.car.run import Run
from fieldkit.car.workshop import CarError
from tests.fieldkit.car.stand_ins import ends


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_that_of_the_job(run: Run, code: int) -> None:
    ends(run, f'(car / "exit").write_text("{code}\\n")')
    assert await machine.run_job(run, "true\n") == code


async def test_the_output_is_passed_on(run: Run, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ends(run, 'sys.stdout.buffer.write(b"said \\xff"); (car / "exit").write_text("0")')
    await machine.run_job(run, "true\n")
    assert capfdbinary.readouterr().out == b"said \xff"


async def test_the_job_is_a_script_in_the_shared_folder(run: Run) -> None:
    ends(run, '(car / "exit").write_text("0")')
    await machine.run_job(run, "exec pytest\n")
    job = run.folder / "job"
    assert job.read_text().endswith("exec pytest\n")
    assert job.stat().st_mode & 0o100


async def test_the_exit_code_of_a_run_before_is_not_taken(run: Run) -> None:
    (run.folder / "exit").write_text("0")
    ends(run, "")
    with pytest.raises(CarError, match="went off before its job had ended"):
        await machine.run_job(run, "true\n")


async def test_a_panic_is_told_with_the_console(run: Run) -> None:
    ends(run, 'console.write_text("[ 1.0] Kernel panic - not syncing: no disk\\n")')
    with pytest.raises(CarError, match=r"panicked(.|\n)*not syncing: no disk"):
        await machine.run_job(run, "true\n")


async def test_a_qemu_that_fails_is_told_with_its_words(run: Run) -> None:
    ends(run, 'sys.exit("cannot set up guest memory")')
    with pytest.raises(CarError, match=r"QEMU failed \(exit code 1\)(.|\n)*guest memory"):
        await machine.run_job(run, "true\n")


async def test_a_machine_that_is_killed_is_told(run: Run) -> None:
    ends(run, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(CarError, match="SIGKILL"):
        await machine.run_job(run, "true\n")


async def test_a_job_that_hangs_is_ended_with_its_machine(run: Run) -> None:
    ends(run, 'console.write_text(f"pid {os.getpid()}"); time.sleep(600)')
    hasty = Run(run.image, run.folder, deadline_s=2.0)
    began_s = time.monotonic()
    with pytest.raises(CarError, match="switched off after 2 s") as failure:
        await machine.run_job(hasty, "true\n")
    assert time.monotonic() - began_s < 20
    assert not psutil.pid_exists(int(str(failure.value).rpartition("pid ")[2]))


async def test_a_run_that_is_cancelled_ends_its_machine(run: Run) -> None:
    ends(run, '(car / "pid").write_text(str(os.getpid())); time.sleep(600)')
    running = asyncio.create_task(machine.run_job(run, "true\n"))
    pid = run.folder / "pid"
    async with asyncio.timeout(20):
        while not (pid.exists() and pid.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(int(pid.read_text()))


async def test_machines_run_side_by_side_and_are_told_apart(
    run: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Each waits for the other: one after the other they would never end."""
    other = Run(run.image, run.folder.parent / "run,2", run.deadline_s)
    other.folder.mkdir()
    ends(
        run,
        'here = car / "here"; here.touch()\n'
        'there = car.with_name("run,2" if car.name == "run,1" else "run,1") / "here"\n'
        "while not there.exists(): time.sleep(0.01)\n"
        'sys.stdout.write(f"begun at {car.name}\\nnot ended")\n'
        '(car / "exit").write_text(car.name[-1])',
    )
    codes = await machine.run_side_by_side({"one": (run, ""), "other": (other, "")})
    assert codes == [1, 2]
    said = capfdbinary.readouterr().out.decode().splitlines()
    assert sorted(said) == sorted(
        f"{label} │ {line}"
        for label, name in (("  one", "run,1"), ("other", "run,2"))
        for line in (f"begun at {name}", "not ended")
    )


async def test_one_that_fails_beside_another_is_told_once_both_have_ended(run: Run) -> None:
    other = Run(run.image, run.folder.parent / "run,2", run.deadline_s)
    other.folder.mkdir()
    ends(
        run,
        'if car.name == "run,1": sys.exit("no memory")\n'
        'while not (car.with_name("run,1") / "qemu.log").read_text(): time.sleep(0.01)\n'
        '(car / "exit").write_text("0")',
    )
    with pytest.raises(CarError, match=r"QEMU failed"):
        await machine.run_side_by_side({"one": (run, ""), "other": (other, "")})
    assert (other.folder / "exit").exists()


@pytest.mark.parametrize("same", [True, False])
async def test_the_tree_is_compiled_for_a_guest_of_the_same_python(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    monkeypatch.setattr("fieldkit.car.packages.PYTHON", version if same else "3.9")
    monkeypatch.setattr(machine, "TREE", tmp_path / "tree")
    source = tmp_path / "tree" / "server" / "routes" / "payments.py"
    source.parent.mkdir(parents=True)
    source.write_text("PATH = '/v1/payments'\n")
    ends(run, '(car / "exit").write_text("0")')
    await machine.run_job(run, "true\n")
    compiled = source.parent / "__pycache__" / f"payments.{sys.implementation.cache_tag}.pyc"
    assert compiled.exists() is same


@pytest.mark.parametrize(
    ("ending", "works"),
    [
        ("sys.exit(33)", True),
        ('sys.exit("failed to set MSR")', False),
        ("os.abort()", False),
        ("time.sleep(60)", False),
    ],
    ids=["it runs a program", "a message", "a crash", "it hangs"],
)
def test_kvm_is_used_where_it_runs_a_program(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, works: bool
) -> None:
    monkeypatch.delenv(qemu.ACCELERATOR_VARIABLE)
    monkeypatch.setattr(qemu, "_KVM_TRIAL_S", 3.0)
    device = tmp_path / "kvm"
    monkeypatch.setattr(qemu, "_KVM_DEVICE", device)
    ends_trial(run, ending)
    assert qemu.accelerator() == "tcg"
    device.touch()
    qemu._kvm_works.cache_clear()
    assert qemu.accelerator() == ("kvm" if works else "tcg")


def test_the_program_of_the_trial_ends_a_real_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, for that runs everywhere; the device only has to be there."""
    monkeypatch.delenv(qemu.ACCELERATOR_VARIABLE, raising=False)
    monkeypatch.setattr(qemu, "_KVM_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(qemu, "KVM", "tcg")
    assert qemu.accelerator() == "tcg"


def ends_trial(run: Run, ending: str) -> None:
    """As ``ends``, for the trial of KVM, which shares no folder."""
    program = run.folder.parent / "qemu-system-x86_64"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{ending}\n")
    program.chmod(0o755)
