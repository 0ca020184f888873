"""Commands and flags as data, and the parser that reads a command line with them.

It behaves as pflag does for Docker: `--flag=value`, `--flag value`, `-f value`, `-fvalue`, `-f=value`, grouped switches (`-it`),
`--` ends the flags, an unknown flag stops with Docker's words. `run`, `create`, `exec` and `top` end their flags at the first
argument (`interspersed=False`), so that the container's own flags stay its own.

A flag is written as a tuple `(name, short, kind, default, usage)`; its kind (`docket.cli.values.KINDS`) says how the text is
converted and whether the flag may be repeated.
"""

from __future__ import annotations

from docket.cli.errors import UsageError
from docket.cli.sanitise import printable
from docket.cli.values import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from docket.cli.context import Context

    FlagData = tuple[str, str, str, Any, str]
    Handler = Callable[[Context, "Options"], int]


class Command:
    """One command: its words, its flags, how many arguments it takes and what runs it.

    `usage` is the part behind the flags, such as `CONTAINER [CONTAINER...]`; `most` of -1 is no upper bound.
    """

    __slots__ = ("aliases", "arguments", "flags", "handler", "interspersed", "least", "most", "path", "summary", "synonyms")

    def __init__(
        self,
        path: str,
        summary: str,
        flags: tuple[FlagData, ...],
        handler: Handler | None,
        arguments: str = "",
        least: int = 0,
        most: int = 0,
        *,
        interspersed: bool = True,
        aliases: tuple[str, ...] = (),
        synonyms: dict[str, str] | None = None,
    ) -> None:
        self.path = path
        self.summary = summary
        self.flags = flags
        self.handler = handler
        self.arguments = arguments
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.aliases = aliases
        self.synonyms = synonyms or {}

    def usage_line(self) -> str:
        """The line that follows `Usage:`."""
        return " ".join(part for part in (self.path, "[OPTIONS]" if self.flags else "", self.arguments) if part)

    def named(self, path: str) -> Command:
        """The same command as it was called: help and errors speak of the words that the user typed."""
        return Command(
            path, self.summary, self.flags, self.handler, self.arguments, self.least, self.most,
            interspersed=self.interspersed, aliases=self.aliases, synonyms=self.synonyms,
        )  # fmt: skip


class Options:
    """What a command line said: flag values by name (defaults included), the arguments, and which flags were given."""

    __slots__ = ("_given", "_values", "args", "command", "help")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.args: list[str] = []
        self.help = False
        self._given: set[str] = set()
        self._values: dict[str, Any] = {}
        for name, _short, kind, default, _usage in command.flags:
            self._values[name] = [] if KINDS[kind].repeats else default

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._given

    def as_dict(self) -> dict[str, Any]:
        """All flag values by name."""
        return dict(self._values)

    def store(self, flag: FlagData, text: str) -> None:
        """Converts and keeps one flag's text; raises UsageError with Docker's words when it does not convert."""
        name, short, kind_name, _default, _usage = flag
        kind = KINDS[kind_name]
        try:
            value = kind.convert(text)
        except ValueError as error:
            label = f"-{short}, --{name}" if short else f"--{name}"
            raise UsageError(f'invalid argument "{printable(text)}" for "{label}" flag: {error}', self.command) from None
        self._given.add(name)
        if not kind.repeats:
            self._values[name] = value
        elif kind.spreads:
            self._values[name].extend(value)
        else:
            self._values[name].append(value)


def parse(command: Command, argv: list[str]) -> Options:
    """Reads a command line; raises UsageError. Arguments are not counted when help was asked for."""
    options = Options(command)
    parser = _Parser(command, options, argv)
    parser.run()
    if not options.help:
        _count_arguments(command, options.args)
    return options


class _Parser:
    """The walk over one argument vector."""

    def __init__(self, command: Command, options: Options, argv: list[str]) -> None:
        self.command = command
        self.options = options
        self.rest = argv
        self.at = 0
        self.by_name: dict[str, FlagData] = {}
        self.by_short: dict[str, FlagData] = {}
        for flag in command.flags:
            self.by_name[flag[0]] = flag
            if flag[1]:
                self.by_short[flag[1]] = flag

    def run(self) -> None:
        while self.at < len(self.rest) and not self.options.help:
            word = self.rest[self.at]
            self.at += 1
            if word == "--":
                self.options.args += self.rest[self.at :]
                return
            if word.startswith("--"):
                self._long(word[2:])
            elif word.startswith("-") and word != "-":
                self._short(word[1:])
            else:
                self.options.args.append(word)
                if not self.command.interspersed:
                    self.options.args += self.rest[self.at :]
                    return

    def _long(self, word: str) -> None:
        name, equals, text = word.partition("=")
        name = self.command.synonyms.get(name, name)
        flag = self.by_name.get(name)
        if name == "help" and flag is None:
            self.options.help = True
        elif flag is None or not name:
            raise UsageError(f"unknown flag: --{printable(name)}", self.command)
        elif equals:
            self.options.store(flag, text)
        elif KINDS[flag[2]].implied is not None:
            self.options.store(flag, str(KINDS[flag[2]].implied))
        else:
            self.options.store(flag, self._next(f"flag needs an argument: --{name}"))

    def _short(self, word: str) -> None:
        """One word of single-letter flags: switches may be grouped, the first that takes a value takes the rest."""
        for index, letter in enumerate(word):
            flag = self.by_short.get(letter)
            if flag is None:
                if letter == "h":
                    self.options.help = True
                    return
                raise UsageError(f"unknown shorthand flag: '{printable(letter)}' in -{printable(word)}", self.command)
            after = word[index + 1 :]
            if after.startswith("="):
                self.options.store(flag, after[1:])
                return
            if KINDS[flag[2]].implied is not None:
                self.options.store(flag, str(KINDS[flag[2]].implied))
                continue
            self.options.store(flag, after or self._next(f"flag needs an argument: '{letter}' in -{word}"))
            return

    def _next(self, complaint: str) -> str:
        if self.at >= len(self.rest):
            raise UsageError(complaint, self.command)
        self.at += 1
        return self.rest[self.at - 1]


def _count_arguments(command: Command, args: list[str]) -> None:
    """Docker's words for too few or too many arguments."""
    least, most, count = command.least, command.most, len(args)
    if least <= count and (most < 0 or count <= most):
        return
    if most == 0:
        wanted = "accepts no arguments"
    else:
        bound = "" if least == most else ("at least " if count < least else "at most ")
        number = most if count > most >= 0 else least
        wanted = f"requires {bound}{number} argument{'' if number == 1 else 's'}"
    raise UsageError(f"'{command.path}' {wanted}", command, status=1, prefixed=True)
