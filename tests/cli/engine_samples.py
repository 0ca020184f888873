"""Answers as an engine gives them, for the scripted engine."""

from __future__ import annotations

from typing import Any

ID = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"
OTHER_ID = "b" * 64
IMAGE_ID = "sha256:65ad0d468eb1c558bf7f4e64e790f586e9eda649ee9f130cd0e835b292bbc5ac"

CONTAINERS: list[dict[str, Any]] = [
    {
        "Id": ID,
        "Names": ["/web"],
        "Image": "busybox",
        "ImageID": IMAGE_ID,
        "Command": "sh -c 'sleep 1000; echo done'",
        "Created": 1767225600,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"PrivatePort": 444, "Type": "tcp"},
            {"PrivatePort": 53, "Type": "udp"},
        ],
        "Labels": {"b": "2", "a": "1"},
        "State": "running",
        "Status": "Up 3 minutes",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {}}},
        "Mounts": [{"Type": "volume", "Name": "data", "Source": "", "Destination": "/data"}],
        "SizeRw": 12345,
        "SizeRootFs": 4261234,
    },
    {
        "Id": OTHER_ID,
        "Names": ["/job"],
        "Image": IMAGE_ID,
        "ImageID": IMAGE_ID,
        "Command": "true",
        "Created": 1767225600,
        "Ports": [],
        "Labels": {},
        "State": "exited",
        "Status": "Exited (3) 2 hours ago",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {}}},
        "Mounts": [],
    },
]

CONTAINER: dict[str, Any] = {
    "Id": ID,
    "Created": "2026-01-01T00:00:00.123456789Z",
    "Path": "sleep",
    "Args": ["1000"],
    "State": {
        "Status": "running", "Running": True, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False,
        "Pid": 42, "ExitCode": 0, "Error": "", "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Image": IMAGE_ID,
    "Name": "/web",
    "RestartCount": 0,
    "HostConfig": {"Binds": None, "Memory": 67108864, "CapAdd": ["CAP_NET_ADMIN"]},
    "Mounts": [
        {"Type": "bind", "Source": "/tmp", "Destination": "/x", "Mode": "ro", "RW": False, "Propagation": "rprivate"},
        {"Type": "volume", "Name": "data", "Source": "/v", "Destination": "/data", "Mode": "", "RW": True, "Propagation": ""},
    ],
    "Config": {
        "Hostname": "4fa6e0f0c678", "Tty": False, "OpenStdin": False, "Env": ["PATH=/bin", "A=b"], "Cmd": ["sleep", "1000"],
        "Image": "busybox", "Labels": {"com.example.role": "front", "a": "1"}, "Entrypoint": None,
    },
    "NetworkSettings": {"Networks": {"none": {"IPAddress": ""}}},
}  # fmt: skip

IMAGES: list[dict[str, Any]] = [
    {
        "Id": IMAGE_ID, "RepoTags": ["busybox:latest", "localhost:5000/a/b:v1"], "RepoDigests": ["busybox@sha256:" + "c" * 64],
        "Created": 1767225600, "Size": 4261234, "SharedSize": -1, "Containers": -1, "Labels": None, "ParentId": "",
    },
    {
        "Id": "sha256:" + "d" * 64, "RepoTags": [], "RepoDigests": [], "Created": 1735689600, "Size": 123456789, "SharedSize": -1,
        "Containers": -1, "Labels": None, "ParentId": "",
    },
]  # fmt: skip

IMAGE: dict[str, Any] = {"Id": IMAGE_ID, "RepoTags": ["busybox:latest"], "Size": 4261234, "Config": {"Cmd": ["sh"]}}

VERSION: dict[str, Any] = {
    "Platform": {"Name": "docket"},
    "Components": [
        {
            "Name": "Engine", "Version": "0.1.0",
            "Details": {
                "ApiVersion": "1.50", "Arch": "amd64", "BuildTime": "", "Experimental": "false", "GitCommit": "abc",
                "GoVersion": "none",
                "KernelVersion": "6.18", "MinAPIVersion": "1.24", "Os": "linux",
            },
        },
        {"Name": "python", "Version": "3.11.7", "Details": {"GitCommit": ""}},
    ],
    "Version": "0.1.0", "ApiVersion": "1.50", "MinAPIVersion": "1.24", "GitCommit": "abc", "GoVersion": "none", "Os": "linux",
    "Arch": "amd64", "KernelVersion": "6.18", "BuildTime": "",
}  # fmt: skip

INFO: dict[str, Any] = {
    "ID": "x", "Containers": 3, "ContainersRunning": 1, "ContainersPaused": 0, "ContainersStopped": 2, "Images": 2,
    "Driver": "overlay", "DriverStatus": [["Backing Filesystem", "extfs"]], "LoggingDriver": "json-file", "CgroupDriver": "none",
    "CgroupVersion": "2",
    "Plugins": {"Volume": ["local"], "Network": ["none", "host"], "Authorization": None, "Log": ["json-file"]},
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "KernelVersion": "6.18", "OperatingSystem": "Debian",

    "OSType": "linux", "Architecture": "x86_64", "NCPU": 2, "MemTotal": 8331231232, "Name": "host",
    "DockerRootDir": "/var/lib/docket",
    "Debug": False, "Runtimes": {"docket": {"path": ""}},
    "DefaultRuntime": "docket", "InitBinary": "docket-init",
    "ServerVersion": "0.1.0", "Swarm": {"LocalNodeState": "inactive"}, "Warnings": ["WARNING: No swap limit support"],
    "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"]}, "LiveRestoreEnabled": True, "Isolation": "",
}  # fmt: skip

STATS: dict[str, Any] = {
    "name": "/web", "id": ID, "read": "2026-01-01T00:00:02Z", "preread": "2026-01-01T00:00:01Z",
    "cpu_stats": {"cpu_usage": {"total_usage": 300000000}, "system_cpu_usage": 4000000000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 200000000}, "system_cpu_usage": 2000000000, "online_cpus": 2},
    "memory_stats": {"usage": 2097152, "limit": 67108864, "stats": {"inactive_file": 1048576}},
    "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 2500000}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 4096}, {"major": 8, "minor": 0, "op": "Write", "value": 0},
        ],
    },
    "pids_stats": {"current": 3},
}  # fmt: skip

EVENTS: list[dict[str, Any]] = [
    {
        "status": "create", "id": ID, "from": "busybox", "Type": "container", "Action": "create",
        "Actor": {"ID": ID, "Attributes": {"name": "web", "image": "busybox"}}, "scope": "local", "time": 1767225600,
        "timeNano": 1767225600123456789,
    },
]  # fmt: skip

LOG: list[dict[str, Any]] = [
    {
        "position": 7, "stream": f"container-{ID}", "version": 1, "type": "ContainerCreated", "time": 1767225600123456789,
        "job": "0123456789abcdef0123456789abcdef", "actor": "uid 0", "causation": None,
        "data": {"name": "web", "image": "busybox", "env": ["ref-1"]}, "hash": "ab" * 32,
    },
    {
        "position": 8, "stream": f"container-{ID}", "version": 2, "type": "ContainerStarted", "time": 1767225601000000000,
        "job": "fedcba9876543210fedcba9876543210", "actor": "uid 0", "causation": 7, "data": {"pid": 42}, "hash": "cd" * 32,
    },
]  # fmt: skip
