"""2,000 chat calls to a server that answers after 50 ms: ours with ledger and budget or without, and the openai client.

Version 3 of that client left the HTTP library that made version 2 slow; both are in use.

python benchmarks/speed/client.py [--calls 2000] [--rounds 5] [--ours]

`--ours` leaves the peers out: what ledger and budget cost our own client is left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from side_by_side import HERE, OURS, PEERS, Side, compare

OLDER = PEERS.parent.parent / "openai-2"
"""Where `make bench-peers` puts version 2 with what it needs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ours", action="store_true")
    chosen = parser.parse_args()
    command = [sys.executable, str(HERE / "sides" / "server.py")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().split()[1]}/v1"
    calls = str(chosen.calls)
    sides = {
        "ours, ledger and budget": Side(OURS, "ours_calls.py", url, calls, "ledger"),
        "ours, neither": Side(OURS, "ours_calls.py", url, calls),
    }
    if not chosen.ours:
        sides["openai 3"] = Side(PEERS, "openai_calls.py", url, calls)
        sides["openai 2"] = Side(PEERS, "openai_calls.py", url, calls, str(OLDER))
    result = compare("chat calls, 64 at once, 50 ms", sides, chosen.rounds, calls=chosen.calls, ceiling_per_s=1280)
    for name, seconds in result["median_seconds"].items():
        print(f"{name}: {chosen.calls / seconds:.0f} calls/s", file=sys.stderr)
    server.kill()


if __name__ == "__main__":
    main()
