"""Each test in a process of its own: signals and output belong to the whole process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import os, signal, sys
from pathlib import Path
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
from marco.sweeping import worker
"""


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", START + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_signal_that_waited_ends_the_first_run() -> None:
    code = """
os.kill(os.getpid(), signal.SIGTERM)
try:
    with worker.at_work():
        print("worked")
except KeyboardInterrupt as interrupt:
    print(int(interrupt.args[0]), int(worker.stopped()))
"""
    assert python(code) == "15 15\n"


def test_a_signal_between_two_runs_is_remembered() -> None:
    code = """
with worker.at_work():
    pass
os.kill(os.getpid(), signal.SIGINT)
print(int(worker.stopped()))
with worker.at_work():
    os.kill(os.getpid(), signal.SIGINT)  # the same one, handed on
    print("not twice")
"""
    assert python(code) == "2\nnot twice\n"


def test_output_goes_into_the_folder_of_the_run_and_of_its_children_too(tmp_path: Path) -> None:
    code = """
import subprocess
with worker.output_into(Path(sys.argv[1])) as say:
    print("of the run")
    subprocess.run([sys.executable, "-c", "print('of a child')"])
    say("one line")
print("after")
"""
    assert python(code, str(tmp_path)) == "one line\nafter\n"
    written = (tmp_path / "output.txt").read_text()
    assert "of the run" in written
    assert "of a child" in written
