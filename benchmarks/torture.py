"""Torture the cache: kill, fault, fill, cut the power, flip and truncate; then count what was lost.

    make torture

runs everything, with more than 1,000 kills; tests/cache/test_torture.py runs a small form of it.

Every trial keeps a list of the ids that a writer had reported stored before it died. Afterwards a
fresh process must find each of them with its exact values, must be able to finish the extract
without any help, and `verify` must find no damage. Lost, wrong and stuck are counted; all have to
be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cache"))

import numpy as np
from affekt.cache import AffektError, Cache, Manifest, Space, durable
from affekt.cache.shard import open_shard
from affekt.cache.verify import check_shard
from cache_toy import expected, fill, make_clips, make_spec

SPEC = make_spec(layers=5, dim=48)
CANARY = np.ones((2, 5, 48), np.float32)
CALLS = ("write", "fsync", "link", "open", "unlink")  # of the system, as the commit makes them


# One trial: a writer in a process of its own, and an auditor who trusts nobody


def write_rows(
    folder: Path, clips: Manifest, report: Callable[[list[str]], None], seed: int
) -> None:
    """Extract clips in an order of its own, and compact now and then."""
    rng = random.Random(seed)
    cache = Cache(folder)
    space = cache.create(SPEC)
    order = list(range(len(clips)))
    rng.shuffle(order)
    for start in range(0, len(order), 24):
        some = clips.select(order[start : start + 24])
        fill(space, some, rows=rng.choice([1, 4, 8]), on_stored=report, canary=lambda: CANARY)
        if rng.random() < 0.3:
            space.compact()


def pack_into(folder: Path, out: Path, tell: Callable[[list[str]], None]) -> None:
    """Pack a cache."""
    Cache(folder).pack(out)


def fork(act: Callable[[Callable[[list[str]], None]], None]) -> tuple[int, int]:
    """Run an act in a child; return its process and a pipe that tells the ids it reports."""
    tell, told = os.pipe()
    child = os.fork()
    if child:
        os.close(told)
        return child, tell
    code = 1
    try:
        os.close(tell)
        act(lambda ids: os.write(told, "".join(f"{id_}\n" for id_ in ids).encode()) and None)
        code = 0
    except OSError as error:
        code = 28 if error.errno == errno.ENOSPC else 2
        if error.errno not in (errno.ENOSPC, errno.EIO):
            traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def writer(folder: Path, clips: Manifest, seed: int) -> tuple[int, int]:
    """Start a process that extracts clips."""
    return fork(lambda tell: write_rows(folder, clips, tell, seed))


def reap(child: int, tell: int) -> tuple[set[str], int]:
    """Wait for a child; return the ids it reported and how it ended."""
    with os.fdopen(tell, "rb") as pipe:
        ids = set(pipe.read().decode().splitlines())
    return ids, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def audit(folder: Path, clips: Manifest, acked: set[str], finish: bool = False) -> Counter:
    """Count what was reported stored and is not there, what is wrong, and what needs a hand."""
    found: Counter = Counter(acked=len(acked))
    try:
        cache = Cache(folder)
        if finish:
            space = cache.create(SPEC)
            fill(space, clips, canary=lambda: CANARY)
        elif not cache.spaces():
            found["lost"] += len(acked)
            return found
        space = Cache(folder).space(SPEC)
        missing = set(space.missing(clips))
        found["lost"] += len(acked & missing)
        there = clips.select([id_ for id_ in clips.ids if id_ not in missing])
        rows = space.cache.read(space, there)
        found["wrong"] += int((rows != expected(space, there)).any(axis=(1, 2)).sum())
        found["stuck"] += not Cache(folder).verify().ok
        found["stuck"] += finish and bool(missing)
    except (AffektError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        found["stuck"] += 1
    return found


# The tortures


def kills(work: Path, count: int, writers: int, seed: int = 0) -> Counter:
    """Kill writers at random moments, again and again until a cache is complete; then the next."""
    rng = random.Random(seed)
    total: Counter = Counter()
    longest = 0.1  # seconds before a kill; follows the speed of the machine
    while total["kills"] < count:
        folder = fresh(work)
        clips, acked = make_clips(96), set()
        for _ in range(60):
            children = [writer(folder, clips, rng.getrandbits(32)) for _ in range(writers)]
            time.sleep(rng.uniform(0, longest))
            for child, _ in children:
                os.kill(child, signal.SIGKILL)
            before, killed = len(acked), 0
            for child in children:
                ids, code = reap(*child)
                acked |= ids
                killed += code == -signal.SIGKILL
            total["kills"] += killed
            late = len(acked) > before + 8 or not killed
            longest = min(2.0, longest * (0.8 if late else 1.1))
            check = audit(folder, clips, acked)
            total += Counter({name: n for name, n in check.items() if name != "acked"})
            if len(acked) == len(clips) or total["kills"] >= count:
                break
        total += audit(folder, clips, acked, finish=True)  # counts the acked of this cache
        total["caches"] += 1
    return total


def moments(work: Path, step: int = 1) -> Counter:
    """Kill a writer just before and just after each call of its commits, one by one."""
    total: Counter = Counter()
    clips = make_clips(10)
    for after in (False, True):
        at = step // 2 if after else 0
        while True:
            folder = fresh(work)

            def doomed(tell, at=at, after=after, folder=folder):
                with counted(at, lambda name: os.kill(os.getpid(), signal.SIGKILL), after=after):
                    write_rows(folder, clips, tell, seed=1)

            ids, code = reap(*fork(doomed))
            if code == 0:
                break
            total["kills"] += 1
            total += audit(folder, clips, ids, finish=True)
            at += step
    return total


def compactions(work: Path, step: int = 1) -> Counter:
    """Kill a compaction just before each call it makes."""
    total: Counter = Counter()
    clips = make_clips(12)
    at = 0
    while True:
        folder = fresh(work)
        space = Cache(folder).create(SPEC)
        stored = set(fill(space, clips, rows=2, canary=lambda: CANARY))

        def doomed(tell, at=at, folder=folder):
            with counted(at, lambda name: os.kill(os.getpid(), signal.SIGKILL)):
                Cache(folder).space(SPEC).compact()

        _, code = reap(*fork(doomed))
        total += audit(folder, clips, stored)
        if code == 0:
            return total
        total["kills"] += 1
        total += audit(folder, clips, stored, finish=True)
        at += step


def faults(work: Path, step: int = 1) -> Counter:
    """Let each write, fsync, link and folder fsync fail once; then go on."""
    total: Counter = Counter()
    clips = make_clips(10)
    for first, number in enumerate((errno.EIO, errno.ENOSPC)):
        at = first * step // 2
        while True:
            folder = fresh(work)

            def fail(name: str, number=number) -> None:
                raise OSError(number, os.strerror(number))

            def hurt(tell, at=at, folder=folder, fail=fail):
                with counted(at, fail, names=CALLS[:3]):
                    write_rows(folder, clips, tell, seed=1)

            ids, code = reap(*fork(hurt))
            total["crashed"] += code not in (0, 2, 28)  # an error, never a crash
            if code == 0:
                break
            total["faults"] += 1
            total += audit(folder, clips, ids, finish=True)
            at += step
    return total


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


def flips(work: Path, step: int = 1) -> Counter:
    """Flip every byte of a small shard, before and after it was opened; cut it at every length."""
    total: Counter = Counter()
    folder = fresh(work)
    clips = make_clips(3)
    cache = Cache(folder)
    space = cache.create(make_spec(layers=2, dim=4))
    fill(space, clips)
    truth = expected(space, clips)
    [path] = (space.folder / "shards").iterdir()
    data = path.read_bytes()
    keys = [key or "" for key in cache.keys(space, clips)]
    opened = Cache(folder).space(space.name)
    if not np.array_equal(opened.read(keys, [0, 1])[0], truth):
        total["wrong"] += 1
    if not np.array_equal(read_whole(open_shard(path, space.key), truth, keys), truth):
        total["wrong"] += 1

    def look(read: Callable[[], np.ndarray], what: str) -> None:
        try:
            total[f"{what}_wrong"] += int(not np.array_equal(read(), truth))
        except AffektError:
            total[f"{what}_found"] += 1

    def newly() -> np.ndarray:
        return read_whole(open_shard(path, space.key), truth, keys)

    for position in range(0, len(data), step):
        hurt = bytearray(data)
        hurt[position] ^= 1 << (position % 8)
        path.write_bytes(hurt)
        look(lambda: opened.read(keys, [0, 1])[0], "opened")
        look(newly, "fresh")
        total["flips"] += 1
        total["unseen_by_verify"] += not refuses(path, space)
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        look(newly, "cut")
        total["cuts"] += 1
        total["unseen_by_verify"] += not refuses(path, space)
    path.write_bytes(data)
    total["wrong"] += sum(total[f"{what}_wrong"] for what in ("opened", "fresh", "cut"))
    total["lost"] = total["unseen_by_verify"]
    return total


def crowd(work: Path, processes: int, count: int = 240) -> Counter:
    """Let processes extract the same and overlapping clips while others read and one compacts."""
    folder = fresh(work)
    clips = make_clips(count)
    width = len(clips) // 2
    total: Counter = Counter(processes=processes)

    def extract(tell, number: int) -> None:
        first = number * len(clips) // processes // 2 if number % 2 else 0
        some = clips if number % 2 == 0 else clips.select(range(first, first + width))
        write_rows(folder, some, tell, seed=number)

    def read(tell) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            space = Cache(folder).create(SPEC)
            missing = set(space.missing(clips))
            there = clips.select([id_ for id_ in clips.ids if id_ not in missing])
            if not np.array_equal(space.cache.read(space, there), expected(space, there)):
                os._exit(3)
            if not missing:
                return

    def compact(tell) -> None:
        for _ in range(20):
            Cache(folder).create(SPEC).compact()
            time.sleep(0.01)

    writers = [fork(lambda tell, n=n: extract(tell, n)) for n in range(processes)]
    others = [fork(read), fork(read), fork(compact)]
    acked: set[str] = set()
    for child in [*writers, *others]:
        ids, code = reap(*child)
        acked |= ids
        total["wrong"] += code != 0
    total += audit(folder, clips, acked)
    space = Cache(folder).space(SPEC)
    space.compact()
    rows = sum(len(space.index.rows(name)) for name in space.index.refresh().shards)
    total["twice"] = rows - len(clips)
    total["lost"] += len(space.missing(clips))
    return total


# What they need


def read_whole(shard, truth: np.ndarray, keys: list[str]) -> np.ndarray:
    """Read a whole shard in the order of the keys, as a space would."""
    from affekt.cache.digests import hex_bytes, key_words
    from affekt.cache.errors import DamagedError

    names = [key.decode() for key in shard.rows.key.tolist()]
    if sorted(names) != sorted(keys):
        raise DamagedError("other keys")
    words = key_words(hex_bytes(keys))
    order = np.array([names.index(key) for key in keys])
    into = np.argsort(order)
    values = np.empty((shard.vectors.layers, len(keys), shard.vectors.dim), np.float32)
    for layer in range(shard.vectors.layers):
        if shard.vectors.read(layer, order[into], words[into], values[layer], into).size:
            raise DamagedError("damaged")
    return values.transpose(1, 0, 2)


def refuses(path: Path, space: Space) -> bool:
    """Say whether verify finds a shard damaged."""
    try:
        check_shard(path, space.key)
    except AffektError:
        return True
    return False


@contextlib.contextmanager
def counted(
    at: int, act: Callable[[str], None], *, names=CALLS, after: bool = False
) -> Iterator[None]:
    """Do something at the system call number `at` of the commit protocol."""
    calls = iter(range(1 << 30))
    real = {name: getattr(os, name) for name in names}

    def wrap(name: str):
        def call(*arguments, **options):
            ours = sys._getframe(1).f_globals.get("__name__", "").startswith(("affekt", "pathlib"))
            hit = ours and next(calls) == at
            if hit and not after:
                act(name)
            result = real[name](*arguments, **options)
            if hit and after:
                act(name)
            return result

        return call

    for name in names:
        setattr(durable.os, name, wrap(name))
    try:
        yield
    finally:
        for name in names:
            setattr(durable.os, name, real[name])


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


def fresh(work: Path) -> Path:
    """Return a folder for the next cache; the one before it is removed."""
    folder = work / "cache"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def main() -> None:
    """Run the tortures and print what they found, one line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="those whose title holds this")
    parser.add_argument("--work", type=Path, help="a folder on the disk to torture")
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = Path(name)
        plan = {
            "kill -9, one writer": lambda: kills(work, 500, 1, seed=1),
            "kill -9, two writers": lambda: kills(work, 600, 2, seed=2),
            "kill -9 at every call of a commit": lambda: moments(work),
            "kill -9 at every call of a compaction": lambda: compactions(work),
            "a fault at every write, fsync, link": lambda: faults(work),
            "every byte flipped, every length": lambda: flips(work),
            "2 processes": lambda: crowd(work, 2),
            "4 processes": lambda: crowd(work, 4),
            "8 processes": lambda: crowd(work, 8),
        }
        if can_mount(work):
            plan["disk full"] = lambda: full_disk(work)
        if can_mount(work, loop=True):
            plan["power loss"] = lambda: power_loss(work, 60)
        plan = {title: plan[title] for title in plan if options.only in title}
        for title, torture in plan.items():
            started = time.monotonic()
            found = torture()
            hurt = sum(found[x] for x in ("lost", "wrong", "stuck", "crashed", "twice"))
            bad += hurt
            for name in ("lost", "wrong", "stuck"):
                found.setdefault(name, 0)
            line = {"torture": title, "seconds": round(time.monotonic() - started, 1), **found}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        for title in {"disk full", "power loss"} - plan.keys():
            sys.stdout.write(json.dumps({"torture": title, "skipped": "needs root"}) + "\n")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
