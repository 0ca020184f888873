"""Who is on the other end: one printable line from facts the client cannot choose."""

import os
import socket

from docket.adapters.http.peer import Peer, tcp_peer, tls_peer, unix_peer


def test_s56_unix_peer_is_what_the_kernel_says() -> None:
    """Credentials are those of the process that connected."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = unix_peer(ours)
    assert (peer.transport, peer.uid, peer.gid, peer.pid) == ("unix", os.getuid(), os.getgid(), os.getpid())
    assert peer.actor.startswith(f"uid={os.getuid()} gid={os.getgid()} pid={os.getpid()}")


def test_unknown_users_have_no_name() -> None:
    """A uid without an account, as containers have them, is still an actor."""
    assert Peer("unix", uid=4_000_000_001, gid=5, pid=6).actor == "uid=4000000001 gid=5 pid=6"


def test_s55_certificate_subjects_stay_one_printable_line() -> None:
    """Control characters are escaped, and a value cannot pretend to be a second part."""
    subject = ((("commonName", "alice\n\x1b[31m"),), (("organizationName", "a,CN=root"),))
    assert tls_peer({"subject": subject}, "::1").actor == "tls subject=CN=alice\\u000a\\u001b[31m,O=a\\,CN\\=root"


def test_tcp_peer_is_an_address_only() -> None:
    """Without a certificate nobody has said who they are."""
    assert tcp_peer("127.0.0.1").actor == "tcp address=127.0.0.1"
