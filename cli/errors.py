"""The errors of the command line, each of which ends as one message on standard error and an exit code.

    CliError(message, status=1)        anything that stops a command
      UsageError                       wrong flags or arguments; carries the command, whose usage follows the message
      EngineError(message, code)       the engine answered with an HTTP error
      ConnectError                     no engine answers

Rule: nothing else reaches `main()` but OSError and ExitStatus; a traceback never reaches a user.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.options import Command


class CliError(Exception):
    """Stops a command: `message` is shown as it is, `status` becomes the exit code."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class UsageError(CliError):
    """Flags or arguments are wrong. `prefixed` tells whether the program's name goes in front, as Docker does for arguments."""

    def __init__(self, message: str, command: Command, status: int = 125, prefixed: bool = False) -> None:
        super().__init__(message, status)
        self.command = command
        self.prefixed = prefixed


class EngineError(CliError):
    """The engine refused a request; `code` is the HTTP status, `reason` its own words."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.reason = reason
        self.code = code


class ConnectError(CliError):
    """No engine answers at the address."""


class ExitStatus(Exception):
    """Ends the program silently with a status: what was to be said has been said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
