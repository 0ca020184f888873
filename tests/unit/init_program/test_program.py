"""The init that docket assembles: run natively, and by an emulator for the other processor where there is one."""

from __future__ import annotations

import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from docket.domain.init_program.aarch64 import Aarch64
from docket.domain.init_program.assembler import CHILD, ENVIRONMENT, RESULT, SIGNAL, STACK, Label, Scratch
from docket.domain.init_program.program import init_program
from docket.domain.init_program.x86_64 import X86

ARCHITECTURES = ("x86_64", "aarch64")


def _reason(architecture: str) -> str:
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    emulator = shutil.which(f"qemu-{architecture}-static") or shutil.which(f"qemu-{architecture}")
    return "" if platform.machine() == architecture or emulator else f"needs {architecture} or its emulator qemu-{architecture}"


@pytest.fixture(params=ARCHITECTURES)
def init(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command that runs the init of an architecture."""
    architecture = str(request.param)
    reason = _reason(architecture)
    if reason:
        pytest.skip(reason)
    path = tmp_path / "docket-init"
    path.write_bytes(init_program(architecture))
    path.chmod(0o755)
    if platform.machine() == architecture:
        return [str(path)]
    emulator = shutil.which(f"qemu-{architecture}-static") or shutil.which(f"qemu-{architecture}")
    return [str(emulator), str(path)]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
        # What ends before the command does is reaped and changes nothing.
        ("for i in 1 2 3 4; do (exit 5) & done; wait; exit 3", 3),
    ],
)
def test_it_exits_with_the_status_of_the_command(init: list[str], command: str, code: int) -> None:
    """An exit status arrives unchanged, a signal as 128 and its number."""
    assert subprocess.run([*init, "/bin/sh", "sh", "-c", command], timeout=20, check=False).returncode == code


def test_the_command_gets_its_arguments_and_environment(init: list[str]) -> None:
    """Words with spaces and empty words stay what they are, and argv[0] is the one that was asked for."""
    script = 'echo "$0|$1|$2|$#|$MARK"'
    command = [*init, "/bin/sh", "sh", "-c", script, "zero", "a b", ""]
    done = subprocess.run(command, env={"MARK": "x=y"}, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "zero|a b||2|x=y\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGQUIT])
def test_signals_reach_the_command(init: list[str], number: int) -> None:
    """Whatever the init gets, its child gets."""
    script = f"trap 'echo caught; exit 4' {number}; echo up; while :; do sleep 0.01; done"
    with subprocess.Popen([*init, "/bin/sh", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.read() == "caught\n"
        assert process.wait(20) == 4


def test_signals_are_not_blocked_in_the_command(init: list[str]) -> None:
    """The init blocks signals to wait for them; its child starts with the mask that the init was given."""
    command = [*init, "/bin/sh", "sh", "-c", "grep SigBlk /proc/self/status"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.split()[1].strip("0") == ""


@pytest.mark.parametrize(("command", "code"), [("/nothing/here", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_executed_gives_the_shells_code(init: list[str], command: str, code: int) -> None:
    """127 for a missing one, 126 for any other reason, and a sentence on stderr."""
    done = subprocess.run([*init, command, "x"], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (code, "docker-init: the command cannot be executed\n")


@pytest.mark.root
def test_as_the_first_process_it_reaps_orphans(init: list[str]) -> None:
    """A process whose parent has ended is the init's child, and does not stay as a zombie."""
    script = "(sh -c 'sleep 0.05 &' &); sleep 0.3; grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null; echo done"
    command = ["unshare", "--pid", "--fork", "--mount-proc", *init, "/bin/sh", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0)


def test_an_unknown_processor_has_no_init() -> None:
    """Then `--init` is refused, and nothing else runs in its place."""
    assert init_program("riscv64") == b""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_a_file_of_one_page_without_writable_or_executable_data(architecture: str) -> None:
    """One segment to read and execute, and a stack that is not executable: nothing can be written and then run."""
    program = init_program(architecture)
    assert len(program) < 1024
    kinds = [
        (int.from_bytes(program[at : at + 4], "little"), int.from_bytes(program[at + 4 : at + 8], "little")) for at in (64, 120)
    ]
    assert kinds == [(1, 5), (0x6474E551, 6)]
    assert program[18] == {"x86_64": 62, "aarch64": 183}[architecture]


def test_the_encodings_are_those_of_the_manuals() -> None:
    """Each instruction as GNU as writes it."""
    x86, arm = X86(), Aarch64()
    for machine in (x86, arm):
        machine.begin(32)
        machine.load(RESULT, STACK, 16)
        machine.load_scratch(SIGNAL, 16)
        machine.store_scratch(8, CHILD)
        machine.move(CHILD, RESULT)
        machine.add(ENVIRONMENT, 16)
        machine.add_words(ENVIRONMENT, STACK, RESULT)
        machine.mask(RESULT, 0x7F)
        machine.shift_right(SIGNAL, 8)
        machine.jump_if("ne", RESULT, CHILD, "end")
        machine.jump_if("le", CHILD, -2, "end")
        machine.jump("end")
        machine.call("kill", CHILD, Scratch(24))
        machine.call("write", 2, Label("end"))
        machine.label("end")
    assert x86.finish().hex() == X86_CODE
    assert arm.finish().hex() == ARM_CODE


X86_CODE = (
    "4889e34881ec20000000488b8310000000448bac24100000004c89a424080000004989c44881c510000000488dacc3000000004881e07f"
    "00000049c1ed084c39e00f853d0000004981fcfeffffff0f8e30000000e92b0000004c89e7488db4241800000048c7c03e0000000f0548"
    "c7c702000000488d350900000048c7c0010000000f05"
)
ARM_CODE = (
    "f3030091ff8300d1600a40f9f61340b9f50700f9f50300aa94420091740e008be90f80d20000098ad6fe48d31f0015eb81010054bf0a00"
    "b14d01005409000014e00315aae1630091281080d2010000d4400080d261000010080880d2010000d4"
)
