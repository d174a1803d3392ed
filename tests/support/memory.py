"""What a read takes in memory, measured in a process of its own: for the tests and benchmarks.

    python memory.py CACHE READ

prints the bytes that were asked for, and by how many the most that the process ever held has grown
meanwhile. The kernel's mark is set back before the read: what came earlier does not hide it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from affekt.cache import Cache, Space


def one_layer(space: Space) -> int:
    return space.layer(space.n_layers // 2).nbytes


def some_rows(space: Space) -> int:
    """Read all layers of 32 rows from everywhere in the cache."""
    keys = space.row_keys()
    return space.read(keys[:: len(keys) // 32][:32], range(space.n_layers), "float16")[0].nbytes


def all_in_batches(space: Space) -> int:
    """Read everything, 256 rows at a time."""
    keys = space.row_keys()
    layers = range(space.n_layers)
    most = 0
    for start in range(0, len(keys), 256):
        values, _ = space.read(keys[start : start + 256], layers, "float16")
        most = max(most, values.nbytes)
    return most


READS = {read.__name__: read for read in (one_layer, some_rows, all_in_batches)}


def memory_of(path: Path, what: str) -> tuple[int, int]:
    """Return the bytes that a read asks for, and by how many the process grew meanwhile."""
    command = [sys.executable, str(Path(__file__).resolve()), str(path), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    asked, grown = map(int, done.stdout.split())
    return asked, grown


def held(name: str) -> int:
    """Return VmRSS or VmHWM (the most it ever was) of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def main() -> None:
    space = Cache(sys.argv[1]).spaces()[0]
    space.row_keys()
    space.read(space.row_keys()[:1], [0])  # opened, imported
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    asked = READS[sys.argv[2]](space)
    print(asked, max(0, held("VmHWM") - before))


if __name__ == "__main__":
    main()
