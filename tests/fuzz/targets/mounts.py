"""Mounts as people and clients write them: ``-v TEXT``, ``--mount TEXT``, ``--tmpfs TEXT``, or the JSON of a HostConfig.

What passes is absolute and plain: no ``..``, no empty part and no NUL, so that what is checked is what is mounted.
"""

from __future__ import annotations

from typing import Any

from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_json_text
from tests.fuzz.targets import Target

from docket.adapters.api.mount_request import mounts
from docket.adapters.http import HttpError, json_body
from docket.cli.errors import CliError
from docket.cli.mounts import parse_mount, tmpfs, volumes_and_binds
from docket.domain.errors import Rejected

_SEEDS = (
    b"-v /srv:/srv", b"-v /srv:/a/../b:ro,z,rslave,cached", b"-v name:/data", b"-v ./here:/there", b"-v /anonymous",
    b"--mount type=bind,src=/srv,dst=/srv,readonly,bind-propagation=rslave,bind-recursive=writable",
    b'--mount type=tmpfs,"target=/a,b",tmpfs-size=1m,tmpfs-mode=1770',
    b"--mount type=volume,dst=/v,volume-opt=a=b,volume-label=x=y",
    b"--tmpfs /t", b"--tmpfs /t:rw,size=1m,mode=755,noexec",
    b'{"Binds":["/a:/b:ro"],"Tmpfs":{"/t":"size=1m"},"Mounts":[{"Type":"bind","Source":"/s","Target":"/d","ReadOnly":true,'
    b'"BindOptions":{"Propagation":"rprivate","NonRecursive":true,"CreateMountpoint":true,"ReadOnlyNonRecursive":false,'
    b'"ReadOnlyForceRecursive":true}},{"Type":"tmpfs","Target":"/e/./f","TmpfsOptions":{"SizeBytes":1,"Mode":448}}]}',
)  # fmt: skip


def _run(data: bytes) -> None:
    try:
        host = _host(data)
    except (ValueError, CliError, HttpError):
        return
    if not isinstance(host, dict):
        return
    try:
        found = mounts(host)
    except Rejected:
        return
    for mount in found:
        assert _plain(mount.target), mount
        assert mount.kind == "tmpfs" or (mount.source.startswith("/") and "\0" not in mount.source), mount
    assert len({mount.target for mount in found}) == len(found)


def _host(data: bytes) -> Any:
    """What the client makes of the text: the part of a HostConfig that speaks of mounts."""
    kind, _, rest = data.decode("utf-8", "surrogateescape").partition(" ")
    if kind == "-v":
        return {"Binds": volumes_and_binds([rest])[1]}
    if kind == "--mount":
        return {"Mounts": [parse_mount(rest)]}
    if kind == "--tmpfs":
        return {"Tmpfs": tmpfs([rest])}
    return json_body.decode(data)


def _plain(target: str) -> bool:
    return target.startswith("/") and "\0" not in target and not {"", ".", ".."} & set(target[1:].split("/"))


def _mutate(mixer: Mixer, data: bytes) -> bytes:
    return mutate_json_text(mixer, data) if data.startswith(b"{") else mutate_bytes(mixer, data)


TARGETS = {
    "mounts": Target(
        "mounts", ("adapters/api/mount_request.py", "cli/mounts.py", "cli/values.py"), lambda: list(_SEEDS), _run, _mutate
    )
}
