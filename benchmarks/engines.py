"""The engines that are compared, each with its own data and its own control group, started and stopped by the harness.

An engine says how its command line is called, where its API listens and how a container is kept inside its control group;
the scenarios know no engine by name. `docket` and `dockerd` answer the same docker client, so the two differ in nothing else.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from concurrent.futures import Executor
from pathlib import Path
from typing import ClassVar

from benchmarks import image, namespaces
from benchmarks.accounting import Group
from benchmarks.client import Client

ANSWER_SECONDS = 60.0
KILL_SECONDS = 10.0
LIMITS = ("nofile", "nproc")


class EngineFailed(Exception):
    """An engine did not do what a scenario needs of it."""


def _run(command: list[str]) -> None:
    process = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if process.returncode != 0:
        raise EngineFailed(f"{' '.join(command)}: {process.stderr.decode(errors='replace').strip()[-500:]}")


class Engine(ABC):
    """Anything that is called from a command line and has data of its own."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        namespaces.volatile(self.folder / "run")
        self.group = Group(self.name)

    @classmethod
    def available(cls) -> bool:
        """Whether the engine's programs are installed."""
        return all(shutil.which(program) for program in cls.programs)

    def run(self, command: list[str]) -> None:
        """Runs one of the engine's commands to its end. Raises EngineFailed with what it wrote."""
        with self.group.entered():
            _run(command)

    def run_many(self, commands: list[list[str]], workers: Executor) -> None:
        """Runs several of them at once. Raises EngineFailed."""
        with self.group.entered():
            list(workers.map(_run, commands))

    def close(self) -> None:
        """Ends what the engine left running."""
        deadline = time.monotonic() + KILL_SECONDS
        while pids := self.group.pids():
            if time.monotonic() > deadline:
                raise EngineFailed(f"{self.name} left processes that do not end: {pids}")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.group.remove()


class ContainerEngine(Engine):
    """An engine that runs containers."""

    @abstractmethod
    def run_command(self, *args: str) -> list[str]:
        """The command line that runs one container in the foreground and removes it."""

    @abstractmethod
    def import_image(self, tar: Path) -> None:
        """Gives the engine the image that all scenarios use."""


class ImageEngine(Engine):
    """An engine that moves images: from and to a registry of loopback without TLS, from and to archives."""

    @abstractmethod
    def pull_command(self, reference: str) -> list[str]:
        """Fetches an image."""

    @abstractmethod
    def tag(self, reference: str, copy: str) -> None:
        """Whatever it takes before an image can be pushed under another name."""

    @abstractmethod
    def push_command(self, reference: str, copy: str) -> list[str]:
        """Sends the image to the registry of ``copy``, the name that it was given with `tag`."""

    @abstractmethod
    def save_command(self, reference: str, archive: Path) -> list[str]:
        """Writes the image into an archive."""

    @abstractmethod
    def load_command(self, archive: Path, reference: str) -> list[str]:
        """Takes the image from an archive that says that it is called ``reference``."""

    @abstractmethod
    def forget(self, *references: str) -> None:
        """Deletes images, so that nothing of them is there for the next time."""


class ApiEngine(ContainerEngine, ImageEngine):
    """An engine with a daemon that speaks the Docker Engine API over a socket of its own."""

    # Where the engine would throw old output away, a scenario about output asks it to keep everything.
    log_config: ClassVar[dict[str, object] | None] = None
    # Whether a daemon that was killed can be started again while what it left behind still runs.
    starts_after_kill: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = folder / "engine.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def daemon_command(self) -> list[str]:
        """The command line of the daemon."""

    @abstractmethod
    def command(self, *args: str) -> list[str]:
        """The command line of the client with these arguments."""

    def transfer_command(self, verb: str, reference: str) -> list[str]:
        """Pull or push."""
        return self.command(verb, "-q", reference)

    def pull_command(self, reference: str) -> list[str]:
        """Through the client, without its progress bars."""
        return self.transfer_command("pull", reference)

    def tag(self, reference: str, copy: str) -> None:
        """A second name."""
        self.run(self.command("tag", reference, copy))

    def push_command(self, reference: str, copy: str) -> list[str]:
        """The second name says where to."""
        return self.transfer_command("push", copy)

    def save_command(self, reference: str, archive: Path) -> list[str]:
        """Each engine in the format that it writes unless told otherwise."""
        return self.command("save", "-o", str(archive), reference)

    def load_command(self, archive: Path, reference: str) -> list[str]:
        """The name is the archive's own."""
        return self.command("load", "-q", "-i", str(archive))

    def forget(self, *references: str) -> None:
        """The names, and what nothing names any more."""
        self.run(self.command("rmi", *references))
        self.run(self.command("image", "prune", "-f"))

    def cli_options(self) -> list[str]:
        """Options of `run` that keep the container in the engine's control group."""
        return []

    def host_config(self) -> dict[str, object]:
        """The same as part of an API request."""
        return {}

    def run_command(self, *args: str) -> list[str]:
        """As a person would type it, without a network."""
        return self.command("run", "--rm", "--network", "none", *self.cli_options(), image.REFERENCE, *args)

    def import_image(self, tar: Path) -> None:
        """Through the client."""
        self.run(self.command("import", str(tar), image.REFERENCE))

    def start(self) -> float:
        """Starts the daemon and returns the seconds until it has listed its containers."""
        began = time.monotonic()
        with (self.folder / "daemon.log").open("ab") as log, self.group.entered():
            self._daemon = subprocess.Popen(self.daemon_command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while True:
            try:
                client = self.client()
                client.call("GET", "/containers/json", all="true")
                client.close()
                return time.monotonic() - began
            except (ConnectionError, FileNotFoundError):
                if self._daemon.poll() is not None or time.monotonic() - began > ANSWER_SECONDS:
                    text = (self.folder / "daemon.log").read_text(errors="replace")[-500:]
                    raise EngineFailed(f"{self.name} does not answer; its log ends with: {text}") from None
                time.sleep(0.005)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the daemon and waits for it."""
        if self._daemon is not None:
            self._daemon.send_signal(number)
            self._daemon.wait(timeout=ANSWER_SECONDS)
            self._daemon = None

    def close(self) -> None:
        """Ends the daemon and everything that it left running."""
        self.stop()
        super().close()

    def client(self) -> Client:
        """A new connection to the engine's API, which the caller closes."""
        return Client(str(self.socket))

    def client_closing(self) -> contextlib.closing[Client]:
        """The same as a context manager."""
        return contextlib.closing(self.client())


class Dockerd(ApiEngine):
    """Docker, with overlay2 and without a bridge."""

    name = "dockerd"
    starts_after_kill = False  # its containerd lives on, and the next dockerd waits for one of its own
    programs = ("dockerd", "docker")
    log_config = {"Type": "json-file", "Config": {"max-size": "1g"}}

    def daemon_command(self) -> list[str]:
        """dockerd starts its own containerd."""
        folders = ["--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "run")]
        own = ["--pidfile", str(self.folder / "pid"), "-H", f"unix://{self.socket}", "--cgroup-parent", self.group.containers]
        network = ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        return ["dockerd", *folders, *own, *network, "--storage-driver", "overlay2", "--log-level", "warn"]

    def command(self, *args: str) -> list[str]:
        """The docker client."""
        return ["docker", "-H", f"unix://{self.socket}", *args]


class Docket(ApiEngine):
    """docket, called through the docker client, exactly as dockerd is."""

    name = "docket"
    programs: ClassVar[tuple[str, ...]] = ("docker",)
    log_config = {"Type": "json-file", "Config": {"max-size": "1g"}}
    executable = str(Path(sys.executable).with_name("docket"))

    @classmethod
    def available(cls) -> bool:
        """The docket of this environment counts, not one on PATH."""
        return super().available() and Path(cls.executable).exists()

    def daemon_command(self) -> list[str]:
        """The same options as dockerd's."""
        folders = ["--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "run")]
        own = ["--pidfile", str(self.folder / "pid"), "-H", f"unix://{self.socket}"]
        return [*namespaces.with_unified(), self.executable, "daemon", *folders, *own]

    def command(self, *args: str) -> list[str]:
        """The docker client."""
        return ["docker", "-H", f"unix://{self.socket}", *args]


class DocketClient(Docket):
    """docket, called through its own client."""

    name = "docket-cli"
    programs = ()

    def command(self, *args: str) -> list[str]:
        """The docket client."""
        return [self.executable, "-H", f"unix://{self.socket}", *args]


class Podman(ApiEngine):
    """Podman: its client is the engine, and its API is a service that does the same work."""

    name = "podman"
    programs = ("podman",)

    def _base(self) -> list[str]:
        roots = ["--root", str(self.folder / "data"), "--runroot", str(self.folder / "run")]
        return [
            "podman",
            *roots,
            "--tmpdir",
            str(self.folder / "tmp"),
            "--cgroup-manager",
            "cgroupfs",
            "--storage-driver",
            "overlay",
        ]

    def daemon_command(self) -> list[str]:
        """The API service, without its idle timeout."""
        return [*self._base(), "system", "service", "--time", "0", f"unix://{self.socket}"]

    def command(self, *args: str) -> list[str]:
        """The podman client, which does not ask the service."""
        return [*self._base(), *args]

    def transfer_command(self, verb: str, reference: str) -> list[str]:
        """Podman has to be told that there is no TLS."""
        return self.command(verb, "-q", "--tls-verify=false", reference)

    def cli_options(self) -> list[str]:
        """Podman has no daemon that could be told once. The limits it would ask for are above those of some hosts."""
        limits = [argument for name in LIMITS for argument in ("--ulimit", f"{name}=1024:1024")]
        return ["--cgroup-parent", self.group.containers, *limits]

    def host_config(self) -> dict[str, object]:
        """As for the command line."""
        limits = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in LIMITS]
        return {"CgroupParent": self.group.containers, "Ulimits": limits}


class Skopeo(ImageEngine):
    """Moves images and knows no containers: what is pulled stays packed, in an image layout, so it is the price of the transfer."""

    name = "skopeo"
    programs = ("skopeo",)

    def _copy(self, source: str, target: str) -> list[str]:
        return [
            "skopeo",
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            source,
            target,
        ]

    def _layout(self, reference: str) -> str:
        return f"oci:{self.folder}/layout:{reference.rpartition('/')[2]}"

    def pull_command(self, reference: str) -> list[str]:
        """Into the layout."""
        return self._copy(f"docker://{reference}", self._layout(reference))

    def tag(self, reference: str, copy: str) -> None:
        """The second name is an argument of the push."""

    def push_command(self, reference: str, copy: str) -> list[str]:
        """Out of the layout."""
        return self._copy(self._layout(reference), f"docker://{copy}")

    def save_command(self, reference: str, archive: Path) -> list[str]:
        """In docker's format. Skopeo adds to no archive that is there already."""
        archive.unlink(missing_ok=True)
        return self._copy(self._layout(reference), f"docker-archive:{archive}:{reference}")

    def load_command(self, archive: Path, reference: str) -> list[str]:
        """Into the layout, packed, for that is what a layout holds."""
        return self._copy(f"docker-archive:{archive}", self._layout(reference))

    def forget(self, *references: str) -> None:
        """Only what is in the layout, which is everything."""
        shutil.rmtree(self.folder / "layout")


class Runc(ContainerEngine):
    """The bare runtime: no images, no daemon, no log. What a container costs before an engine is added."""

    name = "runc"
    programs = ("runc",)

    def import_image(self, tar: Path) -> None:
        """Lays out a bundle, which all containers share. Each gets a control group below that of the process that starts it."""
        bundle = self.folder / "bundle"
        image.write_rootfs(bundle / "rootfs")
        subprocess.run(["runc", "spec", "-b", str(bundle)], check=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"]["terminal"] = False
        spec["process"]["args"] = ["true"]
        (bundle / "config.json").write_text(json.dumps(spec))

    def run_command(self, *args: str) -> list[str]:
        """The bundle's process is `true`, the only one that the scenarios run with this engine."""
        return ["runc", "--root", str(self.folder / "run"), "run", "-b", str(self.folder / "bundle"), f"run-{uuid.uuid4().hex}"]


ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (Docket, DocketClient, Dockerd, Podman, Skopeo, Runc)}
