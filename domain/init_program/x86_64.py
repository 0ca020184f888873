"""The instructions of x86-64, as the Intel manual encodes them, with operands of 64 bits."""

from __future__ import annotations

from docket.domain.init_program.assembler import CHILD, ENVIRONMENT, RESULT, SIGNAL, STACK, Argument, Label, Machine, Scratch

_SP = 4
_REGISTERS = {RESULT: 0, STACK: 3, ENVIRONMENT: 5, CHILD: 12, SIGNAL: 13}
_ARGUMENTS = (7, 6, 2, 10, 8, 9)
_CONDITIONS = {"eq": 0x84, "ne": 0x85, "lt": 0x8C, "le": 0x8E}
_SMALL = 1 << 31


class X86(Machine):
    """x86-64."""

    elf_machine = 62
    system_calls = {
        "write": 1, "rt_sigprocmask": 14, "ioctl": 16, "getpid": 39, "clone": 56, "execve": 59, "wait4": 61, "kill": 62,
        "setpgid": 109, "rt_sigtimedwait": 128, "prctl": 157, "exit_group": 231,
    }  # fmt: skip

    def fix(self, place: int, kind: str, distance: int) -> None:
        """The last four bytes of an instruction of ``kind`` bytes; distances count from its end."""
        length = int(kind)
        self.code[place + length - 4 : place + length] = (distance - length).to_bytes(4, "little", signed=True)

    def _two(self, opcode: int, register: int, other: int) -> None:
        """An instruction on two registers; ``other`` is the ModRM byte's second."""
        self.code += bytes((0x48 | register >> 3 << 2 | other >> 3, opcode, 0xC0 | (register & 7) << 3 | other & 7))

    def _memory(self, opcode: int, register: int, base: int, offset: int, *, wide: bool = True) -> None:
        """An instruction on a register and memory at a base with a displacement."""
        prefix = (0x48 if wide else 0x40) | register >> 3 << 2 | base >> 3
        self.code += bytes((prefix, opcode, 0x80 | (register & 7) << 3 | base & 7))
        if base & 7 == _SP:
            self.code.append(0x24)
        self.code += offset.to_bytes(4, "little", signed=True)

    def _group(self, opcode: int, extension: int, register: int, constant: int) -> None:
        """An instruction of a register and a 32-bit constant, which the processor extends with its sign."""
        self.code += bytes((0x48 | register >> 3, opcode, 0xC0 | extension << 3 | register & 7))
        self.code += constant.to_bytes(4, "little", signed=True)

    def _constant(self, register: int, value: int) -> None:
        signed = value - (1 << 64) if value >> 63 == 1 else value
        if -_SMALL <= signed < _SMALL:
            self._group(0xC7, 0, register, signed)
            return
        self.code += bytes((0x48 | register >> 3, 0xB8 | register & 7)) + signed.to_bytes(8, "little", signed=True)

    def begin(self, scratch: int) -> None:
        self._two(0x89, _SP, _REGISTERS[STACK])
        self._group(0x81, 5, _SP, scratch)

    def load(self, target: str, base: str, offset: int) -> None:
        self._memory(0x8B, _REGISTERS[target], _REGISTERS[base], offset)

    def load_scratch(self, target: str, offset: int) -> None:
        self._memory(0x8B, _REGISTERS[target], _SP, offset, wide=False)

    def store_scratch(self, offset: int, value: int | str) -> None:
        register = _REGISTERS[RESULT if isinstance(value, int) else value]
        if isinstance(value, int):
            self._constant(register, value)
        self._memory(0x89, register, _SP, offset)

    def move(self, target: str, source: str) -> None:
        self._two(0x89, _REGISTERS[source], _REGISTERS[target])

    def add(self, target: str, constant: int) -> None:
        self._group(0x81, 0, _REGISTERS[target], constant)

    def add_words(self, target: str, base: str, count: str) -> None:
        """lea target, [base + 8 * count]"""
        to, at, index = _REGISTERS[target], _REGISTERS[base], _REGISTERS[count]
        prefix = 0x48 | to >> 3 << 2 | index >> 3 << 1 | at >> 3
        self.code += bytes((prefix, 0x8D, 0x84 | (to & 7) << 3, 0xC0 | (index & 7) << 3 | at & 7)) + bytes(4)

    def mask(self, target: str, constant: int) -> None:
        self._group(0x81, 4, _REGISTERS[target], constant)

    def shift_right(self, target: str, bits: int) -> None:
        register = _REGISTERS[target]
        self.code += bytes((0x48 | register >> 3, 0xC1, 0xE8 | register & 7, bits))

    def jump(self, name: str) -> None:
        self.refer("5", name)
        self.code += b"\xe9" + bytes(4)

    def jump_if(self, condition: str, register: str, value: int | str, name: str) -> None:
        if isinstance(value, int):
            self._group(0x81, 7, _REGISTERS[register], value)
        else:
            self._two(0x39, _REGISTERS[value], _REGISTERS[register])
        self.refer("6", name)
        self.code += bytes((0x0F, _CONDITIONS[condition])) + bytes(4)

    def call(self, name: str, *arguments: Argument) -> None:
        for register, argument in zip(_ARGUMENTS, arguments, strict=False):
            self._argument(register, argument)
        self._constant(0, self.system_calls[name])
        self.code += b"\x0f\x05"

    def _argument(self, register: int, argument: Argument) -> None:
        match argument:
            case int():
                self._constant(register, argument)
            case str():
                self._two(0x89, _REGISTERS[argument], register)
            case Scratch():
                self._memory(0x8D, register, _SP, argument.offset)
            case Label():
                self.refer("7", argument.name)
                self.code += bytes((0x48 | register >> 3 << 2, 0x8D, (register & 7) << 3 | 5)) + bytes(4)
