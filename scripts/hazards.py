"""Counts the hazards that a test guards against: ``hazards: N/60``, and lists the open ones.

A hazard is a way in which engines like this one have failed before, numbered S1 to S60. A test that guards against one has its
number in its name (``test_s17_…``; ``test_s04_s07_…`` guards against two). One that has no test yet is open.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HAZARDS = """
the engine's executable overwritten through /proc/self/exe
a leaked descriptor as working directory
a joining process traced
a mount target swapped for a link
forged devices in the image
procfs writes redirected, mounts over /proc
directories made through links
writable cgroups
inheritable capabilities
supplementary groups
ids that overflow or parse as 0
account files that are none
a protection silently not applied
kernel surface: sockets, io_uring, system calls
a signal to a reused pid
a live bind mount deleted with a rootfs
cp: checked, then swapped
code of the image run during cp
members of archives that escape
attributes set through links
absolute names joined to a root
whiteouts, device nodes, set-id in layers
archive bombs
one digest, two readings
a digest used before it was checked
content used before it was verified
credentials sent to another host
requests to where a registry points
index graphs that grow
a build cache poisoned
labels that steer the engine
oversized and unprintable strings
RUN --mount sources that climb
mount stubs cleaned outside
build privileges without the grant
links in a build context
authorisation of another body
request smuggling
modes of the data root
the socket open between bind and chmod
the API reachable from containers
memory by output that nobody reads
option injection through names
browsers that reach the API
a firewall reload that opens
published on loopback, reachable from the link
an internal network that leaks
a forward that hides the client
environments mixed up
replay that has effects
recovery that trusts one side
an edited or rotted log
a log that fills the disk
secrets in the log
control bytes shown
a forged actor
hostile recordings
a projection that weakens a container
the past shown to who may not see it
old events read with laxer defaults
""".strip().splitlines()

_TEST = re.compile(r"^\s*(?:async )?def test((?:_s[0-9]+)+)_", re.MULTILINE)


def guarded(tests: Path) -> dict[int, int]:
    """How many tests guard against each hazard."""
    counts = dict.fromkeys(range(1, len(HAZARDS) + 1), 0)
    for path in tests.rglob("test_*.py"):
        for match in _TEST.finditer(path.read_text(encoding="utf-8")):
            for number in match[1].split("_s")[1:]:
                counts[int(number)] += 1
    return counts


def main() -> int:
    """Prints the count and the open ones; fails for a test that names a hazard which does not exist."""
    try:
        counts = guarded(Path(__file__).resolve().parents[1] / "tests")
    except KeyError as error:
        print(f"hazards: a test names S{error}, and there are {len(HAZARDS)}", file=sys.stderr)
        return 1
    print(f"hazards: {sum(count > 0 for count in counts.values())}/{len(HAZARDS)}")
    for number, count in counts.items():
        if not count:
            print(f"  open: S{number} {HAZARDS[number - 1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
