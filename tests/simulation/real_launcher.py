"""The launcher of a crash test: as the real one, but each operation of a plan passes its points."""

from __future__ import annotations

from typing import Any

from tests.simulation.page import Page

from docket.kernel.launcher import main as launcher
from docket.kernel.shim import birth
from docket.kernel.shim.birth import Birth


def main(descriptor: int, page_fd: int) -> None:
    """Serve launches; see `docket.kernel.launcher.main`."""
    install(Page(page_fd))
    launcher.main(descriptor)


def install(page: Page) -> None:
    """Have the shim's code pass points."""
    perform, clone, begin, conclude = birth.perform, Birth._clone, Birth.begin, Birth.conclude

    def pointed(context: Any, operation: list[Any]) -> bool:
        page.in_shim("op", operation[0])
        page.in_shim("shim", operation[0])
        changed = perform(context, operation)
        page.in_shim("done", operation[0])
        return changed

    def pointed_clone(self: Birth) -> None:
        page.in_shim("op", "Clone")
        page.in_shim("shim", "Clone")
        clone(self)
        if self.pid == 0:
            page.in_shim("done", "Clone")

    def pointed_beginning(self: Birth, wire: Any) -> None:
        page.begins()
        begin(self, wire)

    def pointed_conclusion(self: Birth) -> None:
        conclude(self)
        page.in_shim("done", "Execve")

    birth.perform = pointed
    Birth._clone = pointed_clone  # type: ignore[method-assign]
    Birth.begin = pointed_beginning  # type: ignore[method-assign]
    Birth.conclude = pointed_conclusion  # type: ignore[method-assign]
