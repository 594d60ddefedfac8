"""Ways out of the sandbox, each tried: none leads anywhere, and none is run without a sandbox."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.scorers import load_scorer, sandbox
from shouldtune.scorers.asserts import Outcome, Step, run_steps
from shouldtune.scorers.sandbox import Limits, require_sandbox, run_python
from shouldtune.scorers.syscalls import seccomp_filter

SHORT = Limits(cpu_s=2, wall_s=20)


def _why_none() -> str:
    try:
        require_sandbox()
    except InputError as error:
        return str(error)
    return ""


WHY_NONE = _why_none() if shutil.which("bwrap") else "bubblewrap (bwrap) is not installed"
needs_sandbox = pytest.mark.skipif(bool(WHY_NONE), reason=f"no sandbox here: {WHY_NONE}")


def inside(code: str, *asked: str, limits: Limits = SHORT) -> Outcome:
    """Run code in the sandbox and ask for the values of expressions."""
    return run_steps({"<code>": code}, [[Step(each, "eval", bool) for each in asked]], limits)


def tried(expression: str, imports: str = "os") -> Any:
    """What an expression gives inside: its value, or the name of the error."""
    code = (
        f"import {imports}\n"
        "def tried():\n"
        "    try:\n"
        f"        return {expression}\n"
        "    except BaseException as error:\n"
        "        return type(error).__name__\n"
    )
    return inside(code, "tried()").values[0]


REFUSED = ("PermissionError", "FileNotFoundError", "ProcessLookupError", "OSError", "NotADirectoryError")


@needs_sandbox
@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("socket.create_connection(('127.0.0.1', 22), 1)", id="a connection"),
        pytest.param("socket.socket(socket.AF_UNIX)", id="a socket of the machine"),
        pytest.param("socket.socket(40, socket.SOCK_STREAM)", id="a socket to the host of a virtual machine"),
        pytest.param("open('/etc/shadow').read()", id="passwords"),
        pytest.param("open('/etc/passwd').read()", id="accounts"),
        pytest.param("open('/usr/planted', 'w')", id="writing to the system"),
        pytest.param("open('/planted', 'w')", id="writing to the root"),
        pytest.param("open('/dev/planted', 'w')", id="writing beside devices"),
        pytest.param("open(os.__file__, 'w')", id="overwriting the library"),
        pytest.param("os.unlink(os.__file__)", id="deleting the library"),
        pytest.param("os.link(os.__file__, '/tmp/os.py')", id="a hard link to the system"),
        pytest.param("open('/proc/1/root/etc/shadow').read()", id="the first process's root"),
        pytest.param("open('/proc/1/mem', 'rb').read(1)", id="the first process's memory"),
        pytest.param("open('/proc/kcore', 'rb').read(1)", id="the kernel's memory"),
        pytest.param("open('/proc/sys/kernel/core_pattern', 'w')", id="the kernel's settings"),
        pytest.param("open('/proc/sysrq-trigger', 'w')", id="the kernel's emergency keys"),
        pytest.param("os.kill(2 ** 20, 9)", id="killing a process outside"),
        pytest.param("os.fork()", id="a process of its own"),
        pytest.param("subprocess.run(['/bin/true'])", id="another program"),
        pytest.param("os.setuid(0)", id="becoming root"),
        pytest.param("os.chroot('/tmp')", id="another root"),
        pytest.param("os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))", id="a device of its own"),
        pytest.param("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", id="more memory"),
    ],
)
def test_ways_out_are_refused(expression: str) -> None:
    found = tried(expression, "os, resource, socket, subprocess")
    assert found in (*REFUSED, "ValueError"), found


@needs_sandbox
@pytest.mark.parametrize(
    "call",
    [
        pytest.param("ptrace(16, 1, 0, 0)", id="ptrace"),
        pytest.param("mount(b'/', b'/tmp', None, 4096, None)", id="mount"),
        pytest.param("unshare(0x10000000)", id="a user namespace"),
        pytest.param("setns(0, 0)", id="another namespace"),
        pytest.param("syscall(248, b'user', b'x', b'y', 1, -3)", id="a key in the kernel's ring"),
    ],
)
def test_calls_to_the_kernel_that_reach_outside_are_refused(call: str) -> None:
    if "syscall(248" in call and os.uname().machine != "x86_64":
        pytest.skip("the number is x86-64's")
    code = f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef f(): return libc.{call}, ctypes.get_errno()"
    assert inside(code, "f()").values[0] == (-1, 1)  # EPERM


@needs_sandbox
def test_the_home_folder_and_the_working_folder_are_not_there() -> None:
    home, here = str(Path.home()), str(Path(__file__).parent)
    planted = Path.home() / ".shouldtune-planted"
    planted.write_text("secret")
    try:
        assert tried(f"open({str(planted)!r}).read()") == "FileNotFoundError"
    finally:
        planted.unlink()
    assert tried(f"os.listdir({here!r})") == "FileNotFoundError"
    seen = tried(f"os.listdir({home!r})")
    own = Path(sys.base_prefix)
    assert seen == "FileNotFoundError" or (own.is_relative_to(home) and seen == [own.relative_to(home).parts[0]])


@needs_sandbox
def test_secrets_of_the_environment_do_not_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "secret-5b1f")
    assert set(tried("dict(os.environ)")) <= {"PATH", "LANG", "PWD", "LC_CTYPE"}
    every = "''.join(open('/proc/%s/environ' % p).read() for p in os.listdir('/proc') if p.isdigit())"
    assert "secret-5b1f" not in str(tried(every))


@needs_sandbox
def test_a_link_to_the_outside_leads_nowhere() -> None:
    assert tried("(os.symlink('/etc/shadow', '/tmp/a'), open('/tmp/a').read())") == "FileNotFoundError"
    assert tried("open('/proc/self/root/etc/shadow').read()") == "FileNotFoundError"


@needs_sandbox
def test_only_its_own_processes_are_seen() -> None:
    assert len(tried("[p for p in os.listdir('/proc') if p.isdigit()]")) <= 2
    assert tried("os.getppid()") in (0, 1)


@needs_sandbox
def test_what_it_writes_is_gone_the_next_time_and_never_was_outside() -> None:
    assert tried("open('/tmp/kept-7c2e', 'w').write('x')") == 1
    assert tried("os.path.exists('/tmp/kept-7c2e')") is False
    assert not Path("/tmp/kept-7c2e").exists()  # noqa: S108


@needs_sandbox
def test_a_memory_bomb_is_an_error_inside() -> None:
    assert inside("", "len(bytearray(10 ** 10))").errors[0].startswith("MemoryError")


@needs_sandbox
def test_a_bomb_of_forks_ends_at_once() -> None:
    started = monotonic()
    code = (
        "import os\ndef bomb():\n    while True:\n        try:\n            os.fork()\n"
        "        except OSError:\n            return 'refused'"
    )
    assert inside(code, "bomb()").values == ("refused",)
    assert monotonic() - started < SHORT.wall_s


@needs_sandbox
def test_a_bomb_of_threads_ends_in_time_and_leaves_nothing() -> None:
    code = (
        "import threading, time\nthreading.stack_size(1 << 16)\n"
        "def bomb():\n    while True:\n        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    )
    started = monotonic()
    outcome = inside(code, "bomb()", limits=Limits(cpu_s=2, wall_s=10))
    assert outcome.passed == (False,)
    assert monotonic() - started < 30
    assert _processes_with("stack_size") == []


@needs_sandbox
def test_endless_sleep_and_endless_work_are_timeouts() -> None:
    asleep = inside("import time", "time.sleep(10 ** 6)", limits=Limits(wall_s=3))
    assert asleep.timed_out
    assert not asleep.crashed
    working = inside("def f():\n    while True: pass", "f()", limits=Limits(cpu_s=1, wall_s=60))
    assert working.timed_out
    stubborn = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f():\n    while True: pass"
    assert inside(stubborn, "f()", limits=Limits(cpu_s=1, wall_s=60)).timed_out


@needs_sandbox
def test_endless_output_is_read_up_to_a_limit() -> None:
    assert inside("def f():\n    for _ in range(10 ** 5): print('x' * 100)\n    return 1", "f()").values == (1,)
    ran = run_python("import os\nwhile True: os.write(1, b'x' * 65536)", b"", Limits(output_bytes=100_000))
    assert ran.too_much
    assert len(ran.output) < 300_000
    assert inside("", "'x' * 2_000_000").crashed
    loud = run_python("import os\nfor _ in range(1000): os.write(2, b'y' * 65536)", b"")
    assert len(loud.said) < 100_000


@needs_sandbox
def test_the_private_folder_cannot_be_filled_beyond_its_size() -> None:
    code = (
        "import os\ndef fill():\n    n = 0\n    try:\n        for i in range(100):\n"
        "            with open(f'/tmp/{i}', 'wb', 0) as file:\n                n += file.write(bytes(1 << 20))\n"
        "    except OSError:\n        pass\n    return n >> 20"
    )
    assert inside(code, "fill()").values[0] <= 16
    assert inside("import os", "os.truncate(os.open('/tmp/a', os.O_CREAT | os.O_RDWR), 1 << 40)").errors


@needs_sandbox
def test_nothing_is_left_running() -> None:
    code = (
        "import os, threading, time\n"
        "def leave():\n    threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "    try:\n        if os.fork() == 0:\n            os.setsid(); time.sleep(3600)\n"
        "    except OSError:\n        return 'no daemon'"
    )
    started = monotonic()
    assert inside(code, "leave()").values == ("no daemon",)
    assert monotonic() - started < SHORT.wall_s
    left = set(_processes_with("DEEPEST = 60"))  # a line of what runs inside; another test's may be under way, and ends
    for _ in range(300):
        left &= set(_processes_with("DEEPEST = 60"))
        if not left:
            break
        sleep(0.1)
    assert not left


@needs_sandbox
def test_the_other_table_of_calls_kills() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("only x86-64 has one")
    assert inside("import ctypes", "ctypes.CDLL(None).syscall(0x40000000 + 57)").crashed


def test_the_rules_end_in_allow_and_no_jump_leaves_them() -> None:
    for machine in ("x86_64", "aarch64"):
        rules = list(struct.iter_unpack("<HBBI", seccomp_filter(machine)))
        assert rules[-1] == (0x06, 0, 0, 0x7FFF0000)
        assert all(i + 1 + max(yes, no) < len(rules) for i, (_, yes, no, _) in enumerate(rules[:-1]))
    assert seccomp_filter("pdp11") == b""


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._problem.cache_clear()
    try:
        with pytest.raises(InputError, match="bwrap") as found:
            load_scorer("code", tmp_path, "shouldtune.yaml:4")
        assert found.value.where == "shouldtune.yaml:4"
        assert "apt-get install bubblewrap" in found.value.hint
        with pytest.raises(InputError):
            run_python("print(1)", b"")
    finally:
        sandbox._problem.cache_clear()


@pytest.mark.parametrize(("says", "word"), [("bubblewrap 0.4.1", "too old"), ("bubblewrap 0.11.0", "does not work")])
def test_a_bubblewrap_that_cannot_do_it_is_refused(
    says: str, word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{says}" && exit 0\necho no namespaces >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox._problem.cache_clear()
    try:
        with pytest.raises(InputError, match=word):
            require_sandbox()
    finally:
        sandbox._problem.cache_clear()


def _processes_with(words: str) -> list[str]:
    found = subprocess.run(["ps", "-eo", "pid,args", "-ww"], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if words in line]
