"""The instructions of AArch64 (A64), as the Arm manual encodes them: four bytes each, operands of 64 bits."""

from __future__ import annotations

from docket.domain.init_program.assembler import CHILD, ENVIRONMENT, RESULT, SIGNAL, STACK, Argument, Label, Machine, Scratch

_SP = 31
_NUMBER = 8
_TEMPORARY = 9
_REGISTERS = {RESULT: 0, STACK: 19, ENVIRONMENT: 20, CHILD: 21, SIGNAL: 22}
_CONDITIONS = {"eq": 0, "ne": 1, "lt": 11, "le": 13}


class Aarch64(Machine):
    """64-bit Arm."""

    elf_machine = 183
    system_calls = {
        "ioctl": 29, "write": 64, "exit_group": 94, "kill": 129, "rt_sigprocmask": 135, "rt_sigtimedwait": 137, "setpgid": 154,
        "prctl": 167, "getpid": 172, "clone": 220, "execve": 221, "wait4": 260,
    }  # fmt: skip

    def _emit(self, instruction: int) -> None:
        self.code += instruction.to_bytes(4, "little")

    def fix(self, place: int, kind: str, distance: int) -> None:
        instruction = int.from_bytes(self.code[place : place + 4], "little")
        if kind == "adr":
            instruction |= (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5
        elif kind == "b":
            instruction |= distance >> 2 & 0x3FFFFFF
        else:
            instruction |= (distance >> 2 & 0x7FFFF) << 5
        self.code[place : place + 4] = instruction.to_bytes(4, "little")

    def _constant(self, register: int, value: int) -> None:
        """movz, and a movk for each further 16 bits that are not zero."""
        halves = [value >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
        self._emit(0xD2800000 | halves[0] << 5 | register)
        for index, half in enumerate(halves[1:], 1):
            if half:
                self._emit(0xF2800000 | index << 21 | half << 5 | register)

    def _add(self, register: int, base: int, constant: int) -> None:
        self._emit(0x91000000 | constant << 10 | base << 5 | register)

    def _copy(self, register: int, source: int) -> None:
        self._emit(0xAA0003E0 | source << 16 | register)

    def begin(self, scratch: int) -> None:
        self._add(_REGISTERS[STACK], _SP, 0)
        self._emit(0xD1000000 | scratch << 10 | _SP << 5 | _SP)

    def load(self, target: str, base: str, offset: int) -> None:
        self._emit(0xF9400000 | offset // 8 << 10 | _REGISTERS[base] << 5 | _REGISTERS[target])

    def load_scratch(self, target: str, offset: int) -> None:
        self._emit(0xB9400000 | offset // 4 << 10 | _SP << 5 | _REGISTERS[target])

    def store_scratch(self, offset: int, value: int | str) -> None:
        register = _TEMPORARY if isinstance(value, int) else _REGISTERS[value]
        if isinstance(value, int):
            self._constant(register, value)
        self._emit(0xF9000000 | offset // 8 << 10 | _SP << 5 | register)

    def move(self, target: str, source: str) -> None:
        self._copy(_REGISTERS[target], _REGISTERS[source])

    def add(self, target: str, constant: int) -> None:
        self._add(_REGISTERS[target], _REGISTERS[target], constant)

    def add_words(self, target: str, base: str, count: str) -> None:
        self._emit(0x8B000000 | _REGISTERS[count] << 16 | 3 << 10 | _REGISTERS[base] << 5 | _REGISTERS[target])

    def mask(self, target: str, constant: int) -> None:
        register = _REGISTERS[target]
        self._constant(_TEMPORARY, constant)
        self._emit(0x8A000000 | _TEMPORARY << 16 | register << 5 | register)

    def shift_right(self, target: str, bits: int) -> None:
        register = _REGISTERS[target]
        self._emit(0xD340FC00 | bits << 16 | register << 5 | register)

    def jump(self, name: str) -> None:
        self.refer("b", name)
        self._emit(0x14000000)

    def jump_if(self, condition: str, register: str, value: int | str, name: str) -> None:
        left = _REGISTERS[register] << 5
        if isinstance(value, str):
            self._emit(0xEB00001F | _REGISTERS[value] << 16 | left)
        elif value < 0:
            self._emit(0xB100001F | -value << 10 | left)
        else:
            self._emit(0xF100001F | value << 10 | left)
        self.refer("b.cond", name)
        self._emit(0x54000000 | _CONDITIONS[condition])

    def call(self, name: str, *arguments: Argument) -> None:
        for register, argument in enumerate(arguments):
            self._argument(register, argument)
        self._constant(_NUMBER, self.system_calls[name])
        self._emit(0xD4000001)

    def _argument(self, register: int, argument: Argument) -> None:
        match argument:
            case int():
                self._constant(register, argument)
            case str():
                self._copy(register, _REGISTERS[argument])
            case Scratch():
                self._add(register, _SP, argument.offset)
            case Label():
                self.refer("adr", argument.name)
                self._emit(0x10000000 | register)
