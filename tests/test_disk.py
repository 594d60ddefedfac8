"""A disk that is full or fails, and a process that is killed at a write: whole files or none, in the store too."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shouldtune.models.past_calls import lost_calls, past_calls

WRITES = """
import sys
from pathlib import Path
from shouldtune.errors import CannotMeasure
from shouldtune.files import write_whole
path, biggest = Path(sys.argv[1]), int(sys.argv[2])
for number in range(1, 10**9):
    size = min(number * 7000, biggest)
    try:
        write_whole(path, f"{number}\\n" * (size // len(f"{number}\\n")))
    except CannotMeasure as error:
        print("refused", error, flush=True)
        raise SystemExit(0)
    print(number, flush=True)
"""
RECORDS = """
import asyncio, sys
from pathlib import Path
from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.types import Completion, Message, Options

class Long:
    async def complete(self, messages, options=Options()):
        return Completion("a" * 3000, 10, 1000, latency_s=0.01)
    def spec(self):
        return {"kind": "long"}

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    model = Ledgered(Long(), ledger, Price(1.0, 1.0))
    async def one(number):
        await model.complete([Message("user", f"q{number}")])
        print(number, flush=True)
    try:
        for start in range(0, int(sys.argv[2]), 8):
            await asyncio.gather(*(one(number) for number in range(start, start + 8)))
    finally:
        ledger.close()
try:
    asyncio.run(main())
except CannotMeasure as error:
    print("refused", error, flush=True)
"""


def is_whole(path: Path) -> bool:
    """Whether every line is the same number, as one write made it."""
    lines = path.read_text().split("\n")
    return len(set(lines[:-1])) == 1 and lines[-1] == ""


def is_sound(path: Path, seen: set[int]) -> bool:
    """Whether the ledger is whole and holds what was seen, and of a call that is missing that it was sent."""
    asked = {int(call.request["messages"][0][1][1:]) for call in past_calls(path)}
    with sqlite3.connect(path) as database:
        whole = database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()
    return whole and seen <= asked and len(asked - seen) + len(lost_calls(path)) <= 16


def numbers(text: str) -> set[int]:
    """What was told, the line left out at which the process was killed."""
    return {int(line) for line in text.split("\n")[:-1] if line.isdigit()}


def small_disk(size: int, inside: Path, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script and then copy what it left out of a real file system of this size, which is gone afterwards."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap makes the small disk, and is not installed")
    command = f'"$0" -c "$1" /small/file "${{@:2}}"; cp -a /small/. {inside}'
    box = ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", "/small", "--die-with-parent"]
    done = subprocess.run(
        [*box, "bash", "-c", command, sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "bwrap:" in done.stderr:
        pytest.skip(f"no small disk can be made here: {done.stderr}")
    return done


def test_on_a_full_disk_the_last_whole_version_stays(tmp_path: Path) -> None:
    done = small_disk(400_000, tmp_path, WRITES, 10**9)
    assert "refused /small/file: cannot write: No space left on device" in done.stdout, done.stderr
    assert is_whole(tmp_path / "file")
    assert (tmp_path / "file").read_text().startswith(f"{max(numbers(done.stdout))}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_on_a_full_disk_the_ledger_keeps_what_it_told(tmp_path: Path) -> None:
    done = small_disk(600_000, tmp_path, RECORDS, 2000)
    assert "refused /small/file: the ledger cannot be written: database or disk is full" in done.stdout, done.stderr
    assert len(numbers(done.stdout)) > 50
    assert is_sound(tmp_path / "file", numbers(done.stdout))


def with_fault(fault: str, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script under a fault that the kernel makes at its system calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace makes the fault, and is not installed")
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}", sys.executable, "-c", script]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)


FAULTS = [
    f"{call}:{what}"
    for call in ("fsync", "fdatasync", "pwrite64", "rename", "unlink")
    for what in ("error=EIO", "error=ENOSPC", "signal=KILL")
]


@pytest.mark.parametrize(
    ("faults", "places"), [(6, (2,)), pytest.param(99, range(1, 9), marks=pytest.mark.slow)], ids=["few", "every"]
)
def test_a_fault_at_any_write_leaves_the_ledger_sound(tmp_path: Path, faults: int, places: range) -> None:
    chosen = random.Random(3).sample(FAULTS, min(faults, len(FAULTS)))
    ended = 0
    for fault in chosen:
        for place in places:
            path = tmp_path / f"{fault}-{place}.sqlite".replace(":", "-").replace("=", "-")
            done = with_fault(f"{fault}:when={place}+8", RECORDS, path, 24)
            assert "Traceback" not in done.stderr, done.stderr
            ended += done.returncode != 0 or "refused" in done.stdout
            if path.exists() and path.stat().st_size:
                with sqlite3.connect(path) as database:  # rolls back, as whoever writes next does
                    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                database.close()
                assert not tables or is_sound(path, numbers(done.stdout)), (fault, place)
    assert ended


@pytest.mark.parametrize("fault", ["fsync:error=EIO", "rename:error=EIO", "write:error=ENOSPC", "fsync:signal=KILL"])
def test_a_fault_at_a_write_leaves_the_file_as_it_was(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "file"
    path.write_text("0\n" * 10)
    done = with_fault(f"{fault}:when=3+", WRITES, path, 50_000)
    assert "Traceback" not in done.stderr, done.stderr
    told = max(numbers(done.stdout), default=0)
    assert is_whole(path)
    assert path.read_text().split("\n", 1)[0] in {str(told), str(told + 1)}


@pytest.mark.parametrize("kills", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_while_it_writes_leaves_no_torn_file(tmp_path: Path, kills: int) -> None:
    rng, path = random.Random(kills), tmp_path / "file"
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(path), "3000000"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.random() * 0.2)
        os.kill(process.pid, signal.SIGKILL)
        told = max(numbers("1\n" + process.stdout.read()))
        process.stdout.close()
        process.wait()
        assert is_whole(path)
        assert int(path.read_text().split("\n", 1)[0]) in (told, told + 1)
