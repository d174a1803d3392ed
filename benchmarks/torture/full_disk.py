"""Fill the disk, and cut its power."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from affekt.cache import Cache
from affekt.cache.care import pack
from trial import audit, fork, reap, writer

from tests.support.cache_toy import make_clips


def full_disk(work: Path, sizes: tuple[int, ...] = (400, 700, 1100)) -> Counter:
    """Extract into a disk of some KiB that fills up, pack there, then make room and go on."""
    total: Counter = Counter()
    clips = make_clips(max(sizes) * 4 // 5)
    for size in sizes:
        with mounted(work, ["-t", "tmpfs", "-o", f"size={size}k", "tmpfs"]) as disk:
            folder = disk / "c"
            ids, code = reap(*writer(folder, clips, 1))
            total["full"] += code == 28
            total["crashed"] += code not in (0, 28)
            total += audit(folder, clips, ids)
            out = disk / "packed.h5"
            _, code = reap(*fork(partial(pack_into, folder, out)))
            total["crashed"] += code != 28 or out.exists() or len(list(disk.iterdir())) > 1
            subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            total += audit(folder, clips, ids, finish=True)
            total["trials"] += 1
    return total


def power_loss(work: Path, count: int, seed: int = 0) -> Counter:
    """Cut the power under one or two writers: ext4 on a loop device, shut down without its log."""
    rng = random.Random(seed)
    total: Counter = Counter()
    clips = make_clips(3000)
    image = work / "disk.img"
    for trial in range(count):
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        acked: set[str] = set()
        with mounted(work, ["-o", "loop", str(image)]) as disk:
            os.sync()
            folder = disk / "c"
            children = [writer(folder, clips, seed) for seed in range(1 + trial % 2)]
            time.sleep(rng.uniform(0.02, 0.8))
            for child, _ in children:
                os.kill(child, signal.SIGSTOP)
            handle = os.open(disk, os.O_RDONLY)
            fcntl.ioctl(handle, 0x8004587D, struct.pack("I", 2))  # FS_IOC_SHUTDOWN, no log flush
            os.close(handle)
            for child in children:
                os.kill(child[0], signal.SIGKILL)
                acked |= reap(*child)[0]
        with mounted(work, ["-o", "loop", str(image)]) as disk:
            folder = disk / "c"
            check = audit(folder, clips, acked) if acked else Counter()
            some = clips.select(range(60))
            total += check + audit(folder, some, acked & set(some.ids), finish=True)
        total["trials"] += 1
    return total


def pack_into(folder: Path, out: Path, tell: Callable[[list[str]], None]) -> None:
    """Pack a cache."""
    pack(Cache(folder), out)


@contextlib.contextmanager
def mounted(work: Path, options: list[str]) -> Iterator[Path]:
    """Mount something for a while (needs root)."""
    place = work / "mount"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        for _ in range(100):
            if subprocess.run(["umount", str(place)], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)


def can_mount(work: Path, loop: bool = False) -> bool:
    """Say whether this process may mount a small disk."""
    if os.geteuid() != 0 or (loop and shutil.which("mkfs.ext4") is None):
        return False
    image = work / "try.img"
    try:
        if loop:
            with image.open("wb") as file:
                file.truncate(8 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
        options = ["-o", "loop", str(image)] if loop else ["-t", "tmpfs", "-o", "size=64k", "tmpfs"]
        with mounted(work, options):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        image.unlink(missing_ok=True)
