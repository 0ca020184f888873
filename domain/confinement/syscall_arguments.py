"""Which arguments the kernel reads as 32-bit values, whatever the rest of the register holds.

A filter sees whole registers. Compared as 64 bits, family 0x1_00000026 is "greater than 40" and passes; the kernel then cuts it
down to 38 and opens an AF_ALG socket. The same trick passed TIOCSTI through filters of ioctl commands (CVE-2019-7303). So these
arguments are compared as the kernel reads them: the lower 32 bits and nothing else.

Taken from the SYSCALL_DEFINE lines of the kernel; what is missing here is compared as 64 bits, as libseccomp does always.
"""

from __future__ import annotations

# Argument numbers, then the calls. File descriptors, identifiers, flags and commands declared int, unsigned int or pid_t.
_TABLE = """
0     personality prctl arch_prctl modify_ldt keyctl socketcall ipc clone setuid setgid setfsuid setfsgid setuid32 setgid32
0     setfsuid32 setfsgid32 getrusage getrlimit setrlimit clock_settime clock_settime64 clock_gettime clock_adjtime
0     clock_adjtime64 timer_create userfaultfd mlockall quotactl close epoll_create1 openat2
01    ioctl fcntl fcntl64 setns kill tkill listen shutdown setreuid setregid setreuid32 setregid32 sched_setscheduler
01    fanotify_init pidfd_open seccomp prlimit64 flock io_uring_register getpriority quotactl_fd shmctl msgctl
012   socket socketpair kcmp tgkill setresuid setresgid setresuid32 setresgid32 setpriority ioprio_set fsmount pidfd_getfd
012   setsockopt getsockopt reboot close_range dup3 semctl membarrier epoll_ctl fchown fchown32
0123  io_uring_enter
013   pidfd_send_signal
014   fsconfig
02    bpf openat unlinkat syslog open_tree mount_setattr shmget
023   statx
0234  fchownat
024   renameat2 linkat move_mount
025   copy_file_range splice
03    mknodat sendto recvfrom
034   process_madvise
04    execveat name_to_handle_at
1     open umount2 memfd_create fsopen futex mq_open
12    chown lchown chown32 lchown32
123   perf_event_open
2     madvise mlock2 mknod
5     preadv2 pwritev2
"""


def _table() -> frozenset[tuple[str, int]]:
    pairs: set[tuple[str, int]] = set()
    for line in _TABLE.strip().splitlines():
        indexes, *names = line.split()
        pairs.update((name, int(index)) for name in names for index in indexes)
    return frozenset(pairs)


INT_ARGUMENTS = _table()
"""Pairs of a call's name and the number of an argument."""
