"""Docker's default seccomp profile (moby/profiles, seccomp/default.json), as data grouped by rule.

Everything that stands nowhere here fails with EPERM: io_uring, userfaultfd, the keyrings, kexec, swap, and for a container with
Docker's default capabilities mounting, new namespaces, bpf and perf. A test compares this with the upstream file, rule by rule,
so that our copy cannot age unseen (S14).
"""

from __future__ import annotations

from docket.domain.confinement.seccomp_profile import (
    ALLOW,
    ENOSYS,
    EPERM,
    Condition,
    Rule,
    Scope,
    SeccompProfile,
    errno_action,
)

_ALWAYS = """
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close
close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid
getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid
getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname
getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get
ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64
madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap
mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
_newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity
sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32
setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area
set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice
wait4 waitid waitpid write writev
"""

_FROM_KERNEL_4_8 = "process_vm_readv process_vm_writev ptrace"
"""Before 4.8 a tracer could change a call after the filter had seen it (seccomp(2))."""

_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

_BY_ARCHITECTURE = (
    ("ppc64le", "sync_file_range2 swapcontext"),
    ("arm arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    ("amd64 x32", "arch_prctl"),
    ("amd64 x32 x86", "modify_ldt"),
    ("s390 s390x", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    ("riscv64", "riscv_flush_icache"),
)

# Every address family but AF_ALG (38) and AF_VSOCK (40), which reach code of the kernel that no container needs.
_SOCKET_FAMILIES = (("LT", 38), ("EQ", 39), ("GT", 40))

# PER_LINUX, PER_LINUX32, each with and without UNAME26, and the question what it is.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET: processes and threads, but no namespaces.
_NEW_NAMESPACES = 0x7E020000

_S390 = ("s390", "s390x")

_SUB_ARCHITECTURES = (("x86_64", ("i386", "x32")), ("aarch64", ("arm",)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _conditional() -> list[Rule]:
    rules = [Rule(("socket",), ALLOW, (Condition(0, operator, family),)) for operator, family in _SOCKET_FAMILIES]
    return rules + [Rule(("personality",), ALLOW, (Condition(0, "EQ", value),)) for value in _PERSONALITIES]


def _cloning() -> list[Rule]:
    admin = ("CAP_SYS_ADMIN",)
    no_namespace = Condition(0, "MASKED_EQ", 0, _NEW_NAMESPACES)
    # The flags are the second argument there (clone(2)).
    no_namespace_s390 = Condition(1, "MASKED_EQ", 0, _NEW_NAMESPACES)
    return [
        Rule(("clone",), ALLOW, (no_namespace,), excludes=Scope(admin, _S390)),
        Rule(("clone",), ALLOW, (no_namespace_s390,), Scope(architectures=_S390), Scope(admin)),
        # Its flags lie in memory, where no filter sees them; ENOSYS sends libc back to clone.
        Rule(("clone3",), errno_action(ENOSYS), excludes=Scope(admin)),
    ]


def _default_profile() -> SeccompProfile:
    rules = [
        Rule(_names(_ALWAYS), ALLOW),
        Rule(_names(_FROM_KERNEL_4_8), ALLOW, includes=Scope(minimum_kernel=(4, 8))),
        *_conditional(),
        *(Rule(_names(names), ALLOW, includes=Scope(architectures=_names(where))) for where, names in _BY_ARCHITECTURE),
        *(Rule(_names(names), ALLOW, includes=Scope((capability,))) for capability, names in _BY_CAPABILITY.items()),
        *_cloning(),
    ]
    return SeccompProfile(errno_action(EPERM), tuple(rules), _SUB_ARCHITECTURES)


DEFAULT_PROFILE = _default_profile()
