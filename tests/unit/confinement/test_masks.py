"""Masks, mounts and devices: Docker's defaults, and what privileged changes."""

from __future__ import annotations

from docket.domain.confinement import masks


def test_the_tables_are_dockers() -> None:
    """security.md, section 2: counts and the entries that a slip would hurt most."""
    assert len(masks.MASKED_PATHS) == 12
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware", "/sys/devices/virtual/powercap"} <= set(masks.MASKED_PATHS)
    assert masks.READONLY_PATHS == ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
    assert [(node.name, node.major, node.minor) for node in masks.DEVICE_NODES] == [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ]


def test_each_possible_cpu_has_its_throttle_masked() -> None:
    """Its counters tell how the host is loaded."""
    assert masks.masked_paths(2)[-2:] == tuple(f"/sys/devices/system/cpu/cpu{n}/thermal_throttle" for n in (0, 1))


def test_what_was_asked_replaces_the_defaults_and_privileged_lifts_everything() -> None:
    """``MaskedPaths: []`` of the API is not the same as no such member."""
    assert masks.masked_paths(2, asked=("/proc/x",)) == ("/proc/x",)
    assert masks.masked_paths(2, asked=()) == ()
    assert masks.readonly_paths() == masks.READONLY_PATHS
    assert masks.readonly_paths(asked=()) == ()
    assert masks.masked_paths(2, asked=("/proc/x",), lifted=True) == masks.readonly_paths(lifted=True) == ()


def test_the_device_rules_start_with_deny_all() -> None:
    """And fuse and tun are not among what is allowed."""
    texts = [(rule.allow, rule.text()) for rule in masks.device_rules()]
    assert texts[0] == (False, "a *:* rwm")
    assert {(True, "c 1:3 rwm"), (True, "c 1:7 rwm"), (True, "c 136:* rwm"), (True, "c 5:2 rwm"), (True, "b *:* m")} <= set(
        texts
    )
    assert (False, "c 10:229 rwm") in texts
    assert not any("10:200" in text for _, text in texts)
    assert [rule.text() for rule in masks.device_rules(privileged=True)] == ["a *:* rwm"]
