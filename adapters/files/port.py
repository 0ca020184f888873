"""`ViewedFiles`: the domain's port of containers' files over views of their roots, off the event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator

import trio

from docket.adapters.files.changes import changes_of
from docket.adapters.files.looking import Name, described, look_for_files
from docket.adapters.files.reading import archive_of, archive_of_root
from docket.adapters.files.writing import write_archive
from docket.adapters.images.chunks import blocking, from_threads
from docket.adapters.images.errors import disk_errors
from docket.domain.container_files import ContainerTree, Extraction, FileChange, PathStat, View, Views


class ViewedFiles:
    """Implements `docket.domain.container_files.ContainerFiles`."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def changes(self, tree: ContainerTree) -> tuple[FileChange, ...]:
        def compare() -> tuple[FileChange, ...]:
            with disk_errors("compare the container's files"):
                return changes_of(tree.upperdir, tree.lowerdirs, tree.placeholders)

        return await trio.to_thread.run_sync(compare)

    async def stat(self, tree: ContainerTree, path: str) -> PathStat:
        name = Name(path)

        def look() -> PathStat:
            view = self._open(tree)
            try:
                with disk_errors("look at the container's files"):
                    descriptor = look_for_files(view.root, name, tree)
                    try:
                        return described(view.root, name, descriptor)
                    finally:
                        os.close(descriptor)
            finally:
                view.close()

        return await trio.to_thread.run_sync(look)

    def read(self, tree: ContainerTree, path: str) -> AsyncGenerator[bytes, None]:
        name = Name(path)
        return from_threads(lambda: archive_of(self._open(tree), name, tree))

    def export(self, tree: ContainerTree) -> AsyncGenerator[bytes, None]:
        def pieces() -> Generator[bytes, None, None]:
            return archive_of_root(self._open(tree, alone=True))

        return from_threads(pieces)

    async def write(self, tree: ContainerTree, path: str, chunks: AsyncIterator[bytes], how: Extraction) -> None:
        name = Name(path)

        def unpack() -> None:
            write_archive(self._open(tree), name, tree, blocking(chunks), how)

        await trio.to_thread.run_sync(unpack)

    def _open(self, tree: ContainerTree, *, alone: bool = False) -> View:
        if tree.process is None:
            return self._views.of_plan(tree.view)
        return self._views.of_process(tree.process, alone=alone)
