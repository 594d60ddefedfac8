"""Code that nobody has read, run where it can do no harm: Python in a bubblewrap sandbox.

Inside there is no network, no home folder but the interpreter's own, nothing of /etc, a read-only system, a small
private /tmp, a process table of its own, an empty environment and no privilege. Memory, processor time, file size and
what is read of the output are limited; after `wall_s` seconds the whole process table is killed. The system calls that
reach outside or make processes are refused (syscalls.py). Where there is no such sandbox nothing is run.

What remains: the kernel itself. A hole in Linux is a hole here; whoever must not rely on that runs shouldtune in a
virtual machine.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.scorers.syscalls import seccomp_filter

OLDEST = (0, 8)
"""bubblewrap can forbid further namespaces from this version on."""
INSTALL = "install bubblewrap 0.8 or newer: `apt-get install bubblewrap` or `dnf install bubblewrap` (Linux only)"
REFUSED = (
    "the kernel or the container refuses user namespaces: in Docker `--security-opt seccomp=unconfined`, on Ubuntu an"
    " AppArmor profile for bwrap"
)
SYSTEM = ("/bin", "/sbin", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache")
NOBODY = 65534
MOST_SAID = 4_000
"""Bytes of the error output that are kept."""


@dataclass(frozen=True)
class Limits:
    """What one run may take."""

    cpu_s: int = 10
    wall_s: float = 30.0
    memory_mb: int = 512
    """Address space of a process; there is one process."""
    threads: int = 32
    """Not held where shouldtune itself runs as root: the kernel exempts it. Then memory and time end a bomb."""
    file_mb: int = 16
    """The largest file, and all of /tmp."""
    output_bytes: int = 1_000_000
    """Of the output, after which the run is ended."""


@dataclass(frozen=True)
class Ran:
    """How one run ended."""

    output: bytes
    said: str
    """The beginning of its error output."""
    exit_code: int | None
    """None where it was killed from here; 128 and more: killed by that signal, less 128."""
    timed_out: bool = False
    too_much: bool = False
    """Whether it was ended for what it wrote."""


_LIMITED = """
import resource as _resource
for _name, _most in {most}:
    _resource.setrlimit(getattr(_resource, "RLIMIT_" + _name), (_most, _most))
del _name, _most, _resource
"""


def run_python(source: str, given: bytes, limits: Limits = Limits()) -> Ran:
    """Run Python source with `given` on its standard input, and wait for it: call it from a thread.

    The interpreter is this one with its standard library alone. Raises InputError where there is no sandbox, and
    CannotMeasure where it does not start.
    """
    command = [*_command(_bwrap(), limits), _python(), "-I", "-S", "-c", _preamble(limits) + source]
    with _memory_file(given) as stdin, _memory_file(seccomp_filter()) as rules:
        command[command.index("--seccomp") + 1] = str(rules)
        try:
            process = subprocess.Popen(  # noqa: S603  the command is ours, what it runs is locked in
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(rules,), env={}
            )
        except OSError as error:
            raise CannotMeasure(f"the sandbox does not start: {error}") from None
    with process:
        return _watch(process, limits)


def require_sandbox(where: str | None = None) -> None:
    """InputError, with what to do, where code cannot be locked in here. What was found is remembered."""
    problem = _problem()
    if problem is not None:
        raise InputError(f"model code is never run without a sandbox, and {problem[0]}", where=where, hint=problem[1])


@functools.cache
def _problem() -> tuple[str, str] | None:
    """(why there is no sandbox, what to do); None where there is one. Tried for real, with a program of one line."""
    if shutil.which("bwrap") is None:
        return "bubblewrap (`bwrap`) is not installed", INSTALL
    if not seccomp_filter():
        return "there are no rules for this processor", "x86-64 and arm64 are known"
    said = subprocess.run([_bwrap(), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        return f"this bubblewrap is too old ({said.strip() or 'no version'})", INSTALL
    ran = run_python("print('in')", b"")
    if ran.output != b"in\n":
        return f"bubblewrap does not work here: {ran.said.strip()[:300] or 'no answer'}", REFUSED
    return None


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise InputError("bubblewrap (`bwrap`) is not installed", hint=INSTALL)
    return found


def _python() -> str:
    """The interpreter itself: a virtual environment's is a link to it."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def _command(bwrap: str, limits: Limits) -> list[str]:
    """bwrap and its options; the number after `--seccomp` is filled in when the file is open."""
    apart = "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try"
    bare = f"--disable-userns --die-with-parent --new-session --cap-drop ALL --uid {NOBODY} --gid {NOBODY}"
    seen = ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        seen += ["--ro-bind-try", path, path]
    for path in sorted({sys.base_prefix, str(Path(_python()).parent.parent)}):
        if not Path(path).is_relative_to("/usr"):
            seen += ["--ro-bind", path, path]
    # Where shouldtune runs as root, /proc/sys would take settings of the whole machine: all of /proc is read-only.
    own = "--proc /proc --remount-ro /proc --dev /dev --remount-ro /dev"
    small = f"--size {limits.file_mb << 20} --tmpfs /tmp --remount-ro /"
    clean = "--clearenv --setenv PATH /usr/bin:/bin --setenv LANG C.UTF-8 --hostname sandbox --chdir /tmp --seccomp ?"
    return [bwrap, *apart.split(), *bare.split(), *seen, *own.split(), *small.split(), *clean.split()]


def _preamble(limits: Limits) -> str:
    """Python that puts its own process under the limits before anything else; without privilege none can be raised."""
    most = {
        "AS": limits.memory_mb << 20,
        "CPU": limits.cpu_s,
        "NPROC": limits.threads,
        "FSIZE": limits.file_mb << 20,
        "NOFILE": 64,
        "CORE": 0,
    }
    return _LIMITED.format(most=tuple(most.items()))


@contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    """A file in memory that nobody can change any more, open for reading."""
    file = os.memfd_create("given", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(file), "wb") as whole:
            whole.write(content)
        os.lseek(file, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        yield file
    finally:
        os.close(file)


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> Ran:
    """Read what it writes until it ends, time is over, or it wrote too much; then see to it that it is gone.

    Killing bwrap kills the first process inside, and with it the kernel kills every other.
    """
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  both were asked for
    output, said = bytearray(), bytearray()
    kept = {process.stdout.fileno(): output, process.stderr.fileno(): said}
    deadline, timed_out = monotonic() + limits.wall_s, False
    try:
        with selectors.DefaultSelector() as waiting:
            for file in kept:
                waiting.register(file, selectors.EVENT_READ)
            while waiting.get_map() and len(output) <= limits.output_bytes and not timed_out:
                for key, _ in waiting.select(max(0.0, deadline - monotonic())):
                    chunk = os.read(key.fd, 65_536)
                    if not chunk:
                        waiting.unregister(key.fd)
                    kept[key.fd] += chunk
                    del said[MOST_SAID:]
                timed_out = monotonic() >= deadline
        too_much = len(output) > limits.output_bytes
        if not timed_out and not too_much:
            process.wait(max(0.0, deadline - monotonic()))
    except subprocess.TimeoutExpired:
        timed_out, too_much = True, False
    finally:
        process.kill()
        process.wait()
    code = None if timed_out or too_much else process.returncode
    return Ran(bytes(output), said.decode("utf-8", "replace"), code, timed_out, too_much)
