"""A signal ends a process whatever it interrupts, with the signal's own exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

IN_A_CALLBACK = """
import os, sys, time, weakref
from affekt.cache.commands.signals import ending

class Thing: ...

@ending()
def main():
    thing = Thing()
    held = weakref.ref(thing, lambda ref: os.kill(os.getpid(), int(sys.argv[1])))
    try:
        del thing  # Python drops what is raised in here
        time.sleep(100)
    finally:
        print("cleaned up", flush=True)

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
"""

IN_ANOTHER_THREAD = """
import os, signal, sys, threading, time
from affekt.cache.commands.signals import ending

reader, writer = os.pipe()

def receive():
    time.sleep(0.3)  # the main thread reads by now, and is not interrupted
    signal.pthread_kill(threading.get_ident(), int(sys.argv[1]))

@ending()
def main():
    try:
        threading.Thread(target=receive).start()
        os.read(reader, 1)
    finally:
        print("cleaned up", flush=True)

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
"""
IN_CODE_THAT_CATCHES_ALL = """
import os, sys, time
from affekt.cache.commands.signals import ending

@ending()
def main():
    try:
        try:
            os.kill(os.getpid(), int(sys.argv[1]))
            time.sleep(100)
        except:  # as the compiler does where it folds constants
            pass
        time.sleep(100)
    finally:
        time.sleep(0.5)  # it is not sent again while it is on its way
        print("cleaned up", flush=True)

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
"""
CODES = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize("program", [IN_A_CALLBACK, IN_ANOTHER_THREAD])
def test_ends_even_where_python_loses_the_signal(program, number, code):
    assert _run(program, number) == (code, "cleaned up\n", "")


@pytest.mark.parametrize(("number", "code"), CODES[:2])
def test_ends_where_other_code_drops_the_exception(number, code):
    assert _run(IN_CODE_THAT_CATCHES_ALL, number) == (code, "cleaned up\n", "")


def _run(program: str, number: int) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_handlers_are_put_back():
    from affekt.cache.commands.signals import ending

    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with ending():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


IN_AN_EXEC = """
import sys
from affekt.cache.commands.signals import ending, leave

@ending()
def main():
    exec("import os, sys, time; os.kill(os.getpid(), int(sys.argv[1])); time.sleep(100)")

try:
    main()
except KeyboardInterrupt:
    leave(130)
except SystemExit as end:
    leave(end.code)
"""


@pytest.mark.parametrize(("number", "code"), CODES)
def test_the_exit_code_is_ours_where_an_exec_was_interrupted(number, code, tmp_path):
    (tmp_path / "interrupted.py").write_text(IN_AN_EXEC)
    words = [sys.executable, "-m", "interrupted", str(int(number))]  # only -m has this quirk
    found = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.run(words, env=found, timeout=60, check=False).returncode == code


WHILE_A_THREAD_READS = """
import os, sys, threading
import h5py
from affekt.cache.commands.signals import leave

with h5py.File("t.h5", "w") as file:
    file["texts"] = ["a", "b"]
threading.Thread(target=threading.Event().wait).start()
exit = os._exit

def at_the_end(code):
    with h5py.File("t.h5") as file:
        print(file["texts"][()].tolist(), flush=True)
    exit(code)

os._exit = at_the_end
leave(143)
"""


def test_threads_that_read_hdf5_at_the_end_can_go_on(tmp_path):
    """HDF5 crashed where what h5py registers with it went while a thread was reading."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WHILE_A_THREAD_READS],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (143, "[b'a', b'b']\n"), done.stderr
