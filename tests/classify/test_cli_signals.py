"""A signal that meets a destructor, where Python swallows what a handler raises."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, time
from affekt.classify import cli

class Met:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.05)  # the handler raises here, and Python may only report it

def work(*args, **options):
    Met()
    time.sleep(20)

cli.affekt.main = work
cli.main([])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_V03_a_signal_in_a_destructor_still_ends_the_program(name: str, code: int):
    command = [sys.executable, "-c", PROGRAM.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == code, done.stderr
