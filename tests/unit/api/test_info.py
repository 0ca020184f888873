"""``info`` and ``version``: Docker's shape, and every warning that an operator needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio

from docket.adapters.api.info import info, version
from docket.domain.engine import Engine, Ports
from docket.domain.jobs import JOBS
from docket.domain.jobs.engine import identity_of
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import HostFacts
from docket.domain.verification import LogHealth
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, SequentialIds

Shown = Callable[..., dict[str, Any]]


class Host(FakeKernel):
    """A host with other facts."""

    def __init__(self, **facts: Any) -> None:
        super().__init__()
        self._facts = facts

    def host(self) -> HostFacts:
        return msgspec.structs.replace(super().host(), **self._facts)


@pytest.fixture
def shown() -> Shown:
    """What `info` shows of an engine: ``shown(settings, health, host fact=…)``."""

    def show(settings: EngineSettings | None = None, health: LogHealth | None = None, **facts: Any) -> dict[str, Any]:
        kernel = Host(**facts)
        images: Any = None
        ports = Ports(
            MemoryEventStore(Codec(EVENT_TYPES)), kernel, FakeClock(), SequentialIds(0), kernel.logs, FakeRootfs(kernel), images,
            Places("/data", "/run"), HostFiles(), settings or EngineSettings(),
        )  # fmt: skip

        async def ask() -> dict[str, Any]:
            async with trio.open_nursery() as nursery:
                first = await identity_of(ports.store, ports.clock, ports.ids)
                assert await identity_of(ports.store, ports.clock, ports.ids) == first
                engine = Engine(ports, nursery, JOBS)
                engine.health = health or LogHealth("sound", 1)
                nursery.cancel_scope.cancel()
            return {"version": version(engine), **info(engine)}

        return trio.run(ask)

    return show


def warned(shown: dict[str, Any], words: str) -> bool:
    return any(words in warning for warning in shown["Warnings"])


def test_the_id_is_made_once(shown: Shown) -> None:
    """It is an event, not a fact of this boot."""
    found = shown()
    assert [len(part) for part in found["ID"].split("-")] == [8, 4, 4, 4, 12]
    assert found["Docket"] == {"Log": {"Events": 1, "Status": "sound", "Position": 1}, "Pid": os.getpid()}


def test_limits_that_the_host_cannot_keep_are_named(shown: Shown) -> None:
    """In Docker's words, each on its own; a host that has every controller is not warned of."""
    bare = shown(controllers=())
    assert (bare["MemoryLimit"], bare["CpuCfsQuota"], bare["PidsLimit"]) == (False, False, False)
    for words in ("memory limit", "swap limit", "cpu cfs quota", "cpu shares", "cpuset", "pids limit"):
        assert f"WARNING: No {words} support" in bare["Warnings"]
    full = shown(controllers=("cpu", "cpuset", "io", "memory", "pids"))
    assert not warned(full, "WARNING: No ")
    assert full["MemoryLimit"]


def test_the_default_network_is_said_plainly(shown: Shown) -> None:
    """Whoever misses the bridge reads why."""
    assert warned(shown(), "the default network is none")


def test_s14_info_says_what_no_filter_can_stop(shown: Shown) -> None:
    """32-bit socketcall reaches AF_ALG on x86; 64-bit Arm has no such call."""
    assert warned(shown(architecture="x86_64"), "AF_ALG")
    assert not warned(shown(architecture="aarch64"), "AF_ALG")


def test_security_options_are_those_in_force(shown: Shown) -> None:
    """No seccomp is shown where there is none, with a warning; the engine's own switch is shown."""
    assert shown()["SecurityOptions"] == ["name=seccomp,profile=builtin", "name=cgroupns"]
    assert shown(EngineSettings(no_new_privileges=True))["SecurityOptions"][-1] == "name=no-new-privileges"
    without = shown(seccomp=False)
    assert without["SecurityOptions"] == ["name=cgroupns"]
    assert warned(without, "No seccomp support")


def test_registries_are_shown_as_docker_shows_them(shown: Shown) -> None:
    """Names apart from networks, docker.io always."""
    settings = EngineSettings(insecure_registries=("reg:5000", "10.0.0.0/8"), registry_mirrors=("https://m/",))
    config = shown(settings)["RegistryConfig"]
    assert config["InsecureRegistryCIDRs"] == ["10.0.0.0/8"]
    assert config["Mirrors"] == ["https://m/"]
    assert config["IndexConfigs"]["docker.io"] == {
        "Name": "docker.io",
        "Mirrors": ["https://m/"],
        "Secure": True,
        "Official": True,
    }
    assert config["IndexConfigs"]["reg:5000"]["Secure"] is False


@pytest.mark.parametrize(
    ("status", "words"), [("damaged", "event 7: x: restore"), ("unknown", "could not be verified: event 7: x")]
)
def test_s52_damage_of_the_log_is_a_warning(shown: Shown, status: str, words: str) -> None:
    """Also when it could not be read at all."""
    assert warned(shown(health=LogHealth(status, 7, "event 7: x")), words)
    assert not warned(shown(), "event log")


def test_open_addresses_are_a_warning(shown: Shown) -> None:
    """Somebody asked for it; nobody should forget it."""
    assert warned(
        shown(EngineSettings(open_addresses=("tcp://0.0.0.0:2375",))), "API is accessible on tcp://0.0.0.0:2375 without"
    )


def test_version_has_every_field_that_clients_read(shown: Shown) -> None:
    """On its own and in the engine's component alike."""
    found = shown()["version"]
    engine = found["Components"][0]
    assert engine["Name"] == "Engine"
    for key in ("ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "KernelVersion", "BuildTime"):
        assert engine["Details"][key] == found[key]
    assert [each["Name"] for each in found["Components"]] == ["Engine", "Python", "SQLite"]
    assert all(isinstance(value, str) for each in found["Components"] for value in each["Details"].values())
