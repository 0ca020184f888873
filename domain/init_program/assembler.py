"""What a program for more than one processor is written in: labels, and the few instructions that the init needs.

A value lives in one of the named registers; ``RESULT`` is where system calls answer, and no other call keeps it. Scratch memory is
a piece of the stack. Each processor says how an instruction is encoded (`Machine`), and nothing else knows its registers.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod

import msgspec

STACK, ENVIRONMENT, CHILD, SIGNAL, RESULT = "stack", "environment", "child", "signal", "result"
"""``STACK`` is the stack pointer as execve left it, at argc; the other three are for the program."""


class Scratch(msgspec.Struct, frozen=True):
    """The address of a place in scratch memory."""

    offset: int


class Label(msgspec.Struct, frozen=True):
    """The address of a place in the program."""

    name: str


Argument = int | str | Scratch | Label
"""Of a system call: a constant, the value of a register, or an address."""


class Machine(ABC):
    """A program under construction; subclasses encode. Conditions are ``eq ne lt le``, signed."""

    elf_machine: int
    system_calls: dict[str, int]

    def __init__(self) -> None:
        self.code = bytearray()
        self._labels: dict[str, int] = {}
        self._fixups: list[tuple[int, str, str]] = []

    def label(self, name: str) -> None:
        """Give the next instruction a name."""
        assert name not in self._labels
        self._labels[name] = len(self.code)

    def data(self, name: str, content: bytes) -> None:
        """Bytes that are no instructions, under a name."""
        self.label(name)
        self.code += content

    def finish(self) -> bytes:
        """The program, with all references to labels filled in."""
        for place, kind, name in self._fixups:
            self.fix(place, kind, self._labels[name] - place)
        return bytes(self.code)

    def refer(self, kind: str, name: str) -> None:
        """The instruction that comes next refers to a label."""
        self._fixups.append((len(self.code), kind, name))

    @abstractmethod
    def fix(self, place: int, kind: str, distance: int) -> None:
        """Complete the reference in the instruction at ``place``; the label is ``distance`` bytes further."""

    @abstractmethod
    def begin(self, scratch: int) -> None:
        """Keep the stack pointer in ``STACK``, and reserve scratch memory."""

    @abstractmethod
    def load(self, target: str, base: str, offset: int) -> None:
        """Eight bytes of memory."""

    @abstractmethod
    def load_scratch(self, target: str, offset: int) -> None:
        """Four bytes of scratch memory, without a sign."""

    @abstractmethod
    def store_scratch(self, offset: int, value: int | str) -> None:
        """Write eight bytes of scratch memory."""

    @abstractmethod
    def move(self, target: str, source: str) -> None: ...

    @abstractmethod
    def add(self, target: str, constant: int) -> None:
        """Add a constant below 4096."""

    @abstractmethod
    def add_words(self, target: str, base: str, count: str) -> None:
        """The address ``count`` words of eight bytes after ``base``."""

    @abstractmethod
    def mask(self, target: str, constant: int) -> None: ...

    @abstractmethod
    def shift_right(self, target: str, bits: int) -> None: ...

    @abstractmethod
    def jump(self, name: str) -> None: ...

    @abstractmethod
    def jump_if(self, condition: str, register: str, value: int | str, name: str) -> None:
        """Compare a register with another one, or with a constant between -4095 and 4095, and jump."""

    @abstractmethod
    def call(self, name: str, *arguments: Argument) -> None:
        """A system call; the answer is in ``RESULT``, negative for an error."""


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ADDRESS = 0x400000
_PAGE = 0x10000
"""The largest page that arm64 kernels use; any alignment will do elsewhere."""


def elf(machine: int, code: bytes) -> bytes:
    """A static executable of one read-only segment and no executable stack (elf(5))."""
    size = _HEADER.size + 2 * _SEGMENT.size
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    entry = _ADDRESS + size
    header = _HEADER.pack(identity, 2, machine, 1, entry, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 2, 0, 0, 0)
    whole = size + len(code)
    text = _SEGMENT.pack(1, 5, 0, _ADDRESS, _ADDRESS, whole, whole, _PAGE)
    stack = _SEGMENT.pack(0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + text + stack + code
