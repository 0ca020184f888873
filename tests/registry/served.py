"""A server of the tests' own in threads, from its making until `close`."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer


class Served:
    """Serves on a free port of loopback."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.port: int = server.server_address[1]
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
