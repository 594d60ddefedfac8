"""Which system calls sandboxed code may not make, as a seccomp filter in classic BPF (Linux, Documentation/seccomp).

Refused with EPERM: new processes (threads may be made), sockets of every family (a virtual machine's vsock knows no
network namespace), tracing, mounting, new namespaces, keyrings, bpf, io_uring, modules and the like. What is not
listed is allowed: the namespaces are the wall, this is what stands before it. clone3 says ENOSYS, because a filter
cannot see its flags; C libraries then fall back on clone.
"""

from __future__ import annotations

import errno
import platform
import struct

_EVERYWHERE = (*range(425, 434), 438, 440, 442)
"""io_uring, open_tree to fspick, pidfd_getfd, process_madvise, mount_setattr: new calls have one number everywhere."""

_X86 = (
    *(57, 58),  # fork, vfork
    41,  # socket
    *(101, 310, 311),  # ptrace, process_vm_readv, process_vm_writev
    *(165, 166, 155, 161),  # mount, umount2, pivot_root, chroot
    *(272, 308),  # unshare, setns
    *(248, 249, 250),  # add_key, request_key, keyctl
    *(321, 298, 323),  # bpf, perf_event_open, userfaultfd
    *(246, 320, 175, 313, 176, 169),  # kexec_load, kexec_file_load, modules, reboot
    *(167, 168, 303, 304, 135, 179, 163, 172, 173),  # swap, handles, personality, quotactl, acct, iopl, ioperm
)
_ARM = (
    198,
    *(117, 270, 271),
    *(40, 39, 41, 51),
    *(97, 268),
    *(217, 218, 219),
    *(280, 241, 282),
    *(104, 294, 105, 273, 106, 142),
    *(224, 225, 264, 265, 92, 60, 89),
)
"""The same by arm64's numbers, which has no fork, vfork, iopl and ioperm."""

_MACHINES = {
    "x86_64": (0xC000003E, 56, _X86),
    "aarch64": (0xC00000B7, 220, _ARM),
}
"""Of a processor: how the kernel names it, the number of clone, the calls refused."""

_CLONE3 = 435
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _PROCESSOR, _FIRST_ARGUMENT = 0, 4, 16
"""Where they stand in the kernel's `struct seccomp_data`."""


def seccomp_filter(machine: str | None = None) -> bytes:
    """The filter for this processor, as bwrap's `--seccomp` reads it; empty for one that is not known."""
    known = _MACHINES.get(platform.machine() if machine is None else machine)
    if known is None:
        return b""
    processor, clone, refused = known
    refuse = _ERRNO | errno.EPERM
    lines = [
        (_LOAD, 0, 0, _PROCESSOR),
        (_EQUAL, 1, 0, processor),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),  # the second table of x86-64, under which every call has another number
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    for number in (*refused, *_EVERYWHERE):
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
