"""A plan as the shell commands that a person would type.

Every word is quoted for sh, and a control byte is never printed (S55): words with one are written with ``$(printf -- …)``. What the
commands cannot say as well as the system calls do (descriptors, one process preparing itself) is said in comments. The output is
to be read; it passes ``sh -n``, but is no substitute for the plan.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from docket.domain.confinement.id_maps import IdMapping
from docket.domain.plan import operations as op
from docket.domain.plan.operations import OperationResult, Plan

_ROOT = "$root"
_NAMESPACE_OPTIONS = {
    "mount": "--mount",
    "pid": "--pid --fork",
    "uts": "--uts",
    "ipc": "--ipc",
    "net": "--net",
    "cgroup": "--cgroup",
    "time": "--time",
    "user": "--user",
}
_JOIN_OPTIONS = {**_NAMESPACE_OPTIONS, "pid": "--pid"}


def explain(plan: Plan, results: Sequence[OperationResult] = ()) -> str:
    """The plan as shell commands; with ``results``, failed operations are marked, and what was not reached is left out."""
    failed = next((number for number, result in enumerate(results) if result.errno), None)
    operations = plan.operations()
    titles = {
        0: "on the host, before the process exists",
        len(plan.prepare): "the new process",
        len(plan.prepare) + 1: "on the host, while the process waits",
        len(plan.prepare) + 1 + len(plan.settle): "in the new process",
    }
    lines: list[str] = []
    for number, operation in enumerate(operations if failed is None else operations[: failed + 1]):
        if number in titles:
            lines.append(f"# {titles[number]}")
        lines.append(command(operation))
    lines += [_mark(result) for result in results if result.errno]
    return "\n".join(lines) + "\n"


def _mark(result: OperationResult) -> str:
    what = f"{result.operation}: {result.syscall} {result.path}: errno {result.errno}"
    return "# failed: " + _comment(what)


def quote(word: str) -> str:
    """A word for sh. Control bytes and what is not text are escaped, so that nothing reaches the terminal as it came."""
    if all(_printable(character) for character in word):
        return shlex.quote(word)
    escaped = "".join(
        _octal(character) if not _printable(character) or character in "\\%'" else character for character in word
    )
    return f"\"$(printf -- '{escaped}')\""


def _printable(character: str) -> bool:
    return character == " " or (character.isprintable() and not character.isspace())


def _octal(character: str) -> str:
    undecoded = "\udc80" <= character <= "\udcff"
    data = bytes((ord(character) - 0xDC00,)) if undecoded else character.encode("utf-8", "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


def _comment(text: str) -> str:
    return "".join(character if _printable(character) else "?" for character in text)


def _words(*words: str) -> str:
    return " ".join(quote(word) for word in words)


def _in_root(path: str) -> str:
    return f'"{_ROOT}"{quote(path if path.startswith("/") else f"/{path}")}'


def _options(flags: Iterable[str], data: str = "") -> str:
    names = [flag.lower() if flag != "RDONLY" else "ro" for flag in flags]
    text = ",".join([*names, *([data] if data else [])])
    return f" -o {quote(text)}" if text else ""


def command(operation: op.Operation) -> str:
    """One operation as a command. Raises `TypeError` for a type that has no explanation."""
    match operation:
        case op.MakeDirectory():
            return f"mkdir {'-p ' if operation.parents else ''}-m {operation.mode:04o} {quote(operation.path)}"
        case op.RemoveDirectory():
            return f"rmdir {quote(operation.path)}"
        case op.WriteFile():
            path = quote(operation.path)
            return f"printf %s {quote(operation.content)} > {path}; chmod {operation.mode:04o} {path}"
        case op.Unlink():
            return f"rm {quote(operation.path)}"
        case op.StartScope():
            return _start_scope(operation)
        case op.CreateCgroup():
            return _create_cgroup(operation)
        case op.RemoveCgroup():
            return f"echo 1 > {quote(operation.path + '/cgroup.kill')}; rmdir {quote(operation.path)}"
        case op.WriteCgroup():
            return f"echo {quote(operation.value)} > {quote(f'{operation.path}/{operation.file}')}"
        case op.AttachDeviceFilter():
            path = quote(operation.path)
            return (
                f"bpftool prog load devices /sys/fs/bpf/devices; bpftool cgroup attach {path} cgroup_device name devices multi"
            )
        case op.JoinNamespaces():
            return _join(operation)
        case op.JoinUsers():
            return f"exec nsenter --target {operation.pid} --user sh"
        case op.Clone():
            return _clone(operation)
        case op.WriteIdMaps():
            return "; ".join([_id_map("uid_map", operation.uids), _id_map("gid_map", operation.gids)])
        case op.Unshare():
            return f"exec unshare {_namespaces(operation.namespaces)} sh"
        case op.SetLinkUp():
            return f"ip link set {quote(operation.name)} up"
        case op.Sethostname():
            return f"hostname {quote(operation.name)}"
        case op.Setdomainname():
            return f"domainname {quote(operation.name)}"
        case op.Chdir():
            return f"cd {quote(operation.path)}"
        case op.Umask():
            return f"umask {operation.mask:04o}"
        case op.Execve():
            if operation.init:
                return f"exec docker-init -- {_words(*operation.args)}"
            return f"exec {_words(*operation.args)}" if operation.args else 'exec "$@"  # the command is not part of the plan'
        case _:
            return _root_command(operation)


def _start_scope(operation: op.StartScope) -> str:
    call = "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit"
    properties = f"3 Slice s {quote(operation.slice)} PIDs au 1 $$ Delegate b true"
    shim = quote(f"{operation.path}/shim")
    started = f"{call} 'ssa(sv)a(sa(sv))' {quote(operation.unit)} fail {properties} 0"
    return f"{started}; mkdir {shim}; echo $$ > {shim}/cgroup.procs"


def _create_cgroup(operation: op.CreateCgroup) -> str:
    parent = operation.path.rpartition("/")[0]
    enable = " ".join(f"+{controller}" for controller in operation.controllers)
    made = f"mkdir -p {quote(operation.path)}"
    return f"{made}; echo {quote(enable)} > {quote(parent + '/cgroup.subtree_control')}" if enable else made


def _join(operation: op.JoinNamespaces) -> str:
    options = " ".join(_JOIN_OPTIONS.get(name) or quote(f"--{name}") for name in operation.namespaces)
    return f"exec nsenter --target {operation.pid} {options} sh  # if it started at tick {operation.start_time}"


def _namespaces(names: Iterable[str]) -> str:
    """The options; in a recording from elsewhere a name may be anything."""
    return " ".join(_NAMESPACE_OPTIONS.get(name) or quote(f"--{name}") for name in names)


def _clone(operation: op.Clone) -> str:
    cgroup = f"echo $$ > {quote(operation.cgroup + '/cgroup.procs')}; " if operation.cgroup else ""
    return f"{cgroup}exec unshare {_namespaces(operation.namespaces)} sh" if operation.namespaces else f"{cgroup}exec sh"


def _id_map(file: str, mappings: Iterable[IdMapping]) -> str:
    lines = "\\n".join(f"{mapping.inside} {mapping.outside} {mapping.count}" for mapping in mappings)
    return f"printf '{lines}\\n' > /proc/$pid/{file}"


def _root_command(operation: op.Operation) -> str:
    """Operations on the root filesystem."""
    match operation:
        case op.Mount():
            if not operation.fstype and "BIND" not in operation.flags:
                recursive = "r" if "REC" in operation.flags else ""
                kind = next((name.lower() for name in operation.flags if name != "REC"), "private")
                return f"mount {quote(f'--make-{recursive}{kind}')} {quote(operation.target)}"
            if "BIND" in operation.flags:
                return f"mount --{'r' if 'REC' in operation.flags else ''}bind {_words(operation.source, operation.target)}"
            source = quote(operation.source or operation.fstype)
            options = _options(operation.flags, operation.data)
            return f"mount -t {quote(operation.fstype)}{options} {source} {quote(operation.target)}"
        case op.HoldTree():
            return f"# open_tree: the mounts of {_comment(operation.source)} are held for the new process"
        case op.HoldPeerTree():
            return f"# {_comment(operation.path)} of process {operation.pid} is held by nsenter --mount and open_tree"
        case op.MountOverlay():
            upper = f",upperdir={operation.upperdir},workdir={operation.workdir}" if operation.upperdir else ""
            data = f"lowerdir={':'.join(operation.lowerdirs)}{upper}"
            return f"mount -t overlay overlay -o {quote(data)} {quote(operation.target)}"
        case op.HoldOverlay():
            return _hold_overlay(operation)
        case op.AttachOverlay():
            return f"# move_mount: the held overlay is mounted on {_comment(operation.target)}"
        case op.EnterRoot():
            return f"root={quote(operation.path)}; cd {quote(operation.path)}"
        case op.MountInRoot():
            target = _in_root(operation.target)
            options = _options(operation.flags, operation.data)
            return f"mkdir -p {target}; mount -t {quote(operation.fstype)}{options} {quote(operation.fstype)} {target}"
        case op.BindInRoot():
            return _bind(operation)
        case op.MakeNodeInRoot():
            target = _in_root(operation.path)
            return f"mknod -m {operation.mode:04o} {target} {quote(operation.kind)} {operation.major} {operation.minor}"
        case op.SymlinkInRoot():
            return f"ln -s {quote(operation.target)} {_in_root(operation.path)}"
        case op.MakeDirectoryInRoot():
            return f"mkdir -p -m {operation.mode:04o} {_in_root(operation.path)}"
        case op.PivotRoot():
            return "pivot_root . .; umount -l .; cd /; root="
        case op.MaskPath():
            path = quote(operation.path)
            return f"if [ -d {path} ]; then mount -t tmpfs -o ro,size=0k tmpfs {path}; else mount --bind /dev/null {path}; fi"
        case op.SetReadOnly():
            path = quote(operation.path)
            return f"mount --rbind {path} {path}; mount -o remount,bind,ro {path}"
        case op.WriteSysctl():
            return f"echo {quote(operation.value)} > {_in_root('/proc/sys/' + operation.name.replace('.', '/'))}"
        case _:
            return _process_command(operation)


def _hold_overlay(operation: op.HoldOverlay) -> str:
    maps = ",".join(
        f"{kind}:{mapping.inside}:{mapping.outside}:{mapping.count}"
        for kind, mappings in (("u", operation.uids), ("g", operation.gids))
        for mapping in mappings
    )
    layers = " ".join(quote(each) for each in (*operation.lowerdirs, operation.upperdir, operation.workdir))
    return (
        f"for layer in {layers}; do mount --bind -o X-mount.idmap={maps} $layer $layer; done  # in a mount namespace of its own"
    )


def _bind(operation: op.BindInRoot) -> str:
    target = _in_root(operation.target)
    lines = [f"mount --{'r' if operation.recursive else ''}bind {quote(operation.source)} {target}"]
    lines.append(f"mount --make-{quote(operation.propagation)} {target}")
    flags = [*(["RDONLY"] if operation.readonly else []), *operation.flags]
    if flags:
        lines.append(f"mount{_options(('remount', 'bind', *flags))} {target}")
    return "; ".join(lines)


def _process_command(operation: op.Operation) -> str:
    """Operations on the process itself."""
    match operation:
        case op.SetDumpable():
            return f": prctl PR_SET_DUMPABLE {operation.value}"
        case op.Setsid():
            return "exec setsid sh"
        case op.OpenTerminal():
            size = f"; stty rows {operation.rows} cols {operation.columns}" if operation.rows and operation.columns else ""
            console = f'; mount --bind "$(tty)" {_in_root("/dev/console")}' if operation.console else ""
            return f"exec setsid --ctty sh < {_in_root('/dev/pts/0')}{size}{console}"
        case op.ResolveUser():
            groups = "".join(f" {quote(group)}" for group in operation.groups) or " its own"
            user = quote(operation.user or "root")
            return f'{_name(operation.result)}=$(chroot "{_ROOT}/" id {user})  # groups:{groups}'
        case op.Setrlimit():
            limits = ":".join("unlimited" if value < 0 else str(value) for value in (operation.soft, operation.hard))
            return f"prlimit --pid $$ --{quote(operation.resource.lower())}={limits}"
        case op.SetOomScoreAdj():
            return f"echo {operation.value} > /proc/self/oom_score_adj"
        case op.SetNoNewPrivileges():
            return "exec setpriv --no-new-privs sh"
        case op.LoadSeccomp():
            told = operation.describe().removeprefix("load seccomp filter ").removeprefix("of ")
            return f": seccomp SECCOMP_SET_MODE_FILTER, {told}"
        case op.DropBounding():
            return f"exec setpriv --bounding-set {_capabilities(operation.keep)} sh"
        case op.SetUser():
            user = _name(operation.user)
            return f'exec setpriv --reuid "${user}" --regid "${user}" --init-groups sh'
        case op.Capset():
            told = f": capset effective {operation.effective:#x} permitted {operation.permitted:#x}"
            inheritable, ambient = _capabilities(operation.inheritable), _capabilities(operation.ambient)
            return f"{told}; exec setpriv --inh-caps {inheritable} --ambient-caps {ambient} sh"
        case op.BecomeRoot():
            return "exec setpriv --reuid 0 --regid 0 --clear-groups sh"
        case op.SetAppArmorProfile():
            return f"echo {quote(f'exec {operation.profile}')} > /proc/self/attr/apparmor/exec"
        case op.SetParentDeathSignal():
            return f"exec setpriv --pdeathsig {operation.signal} sh"
        case _:
            raise TypeError(f"{type(operation).__name__} has no explanation")


def _name(result: str) -> str:
    """A result's name as a shell variable."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in f"result_{result}")


def _capabilities(mask: int) -> str:
    """A mask in setpriv's words: nothing but these."""
    return ",".join(["-all", *(f"+cap_{number}" for number in range(mask.bit_length()) if mask >> number & 1)])
