"""Ctrl-C waits for a step, and SIGTERM is answered as Ctrl-C is."""

import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from labkit.cli import main
from labkit.system.interrupts import Stopped, interrupts_wait, termination_interrupts


def told(script):
    """What a process of its own prints: a signal that is not caught ends it, and not the one that runs the tests."""
    begin = "import signal\nfrom labkit.system.interrupts import interrupts_wait, termination_interrupts\n"
    done = subprocess.run([sys.executable, "-c", begin + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.splitlines()


def test_a_second_interrupt_acts_at_once():
    script = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, whatever started this process
try:
    with interrupts_wait() as interrupted:
        signal.raise_signal(signal.SIGINT)
        print("waits", interrupted())
        signal.raise_signal(signal.SIGINT)
        print("held back")
except KeyboardInterrupt:
    print("acted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert told(script) == ["waits True", "acted True"]


def test_outside_the_main_thread_interrupts_are_left_alone():
    seen = []

    def work():
        with interrupts_wait() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_an_answer_that_was_not_set_in_python_is_left_alone(monkeypatch):
    def put_back(*_):
        pytest.fail("it could not be put back")

    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", put_back)
    for block in (interrupts_wait, termination_interrupts):
        with block() as asked:
            assert not asked()


@pytest.mark.parametrize("on_interrupt", ["default_int_handler", "SIG_IGN"])
def test_sigterm_interrupts_even_where_ctrl_c_is_ignored(on_interrupt):
    script = f"""
before, _ = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, signal.{on_interrupt})
try:
    with termination_interrupts() as terminated:
        print("none yet", not terminated())
        signal.raise_signal(signal.SIGTERM)
        print("SIGTERM did nothing")
except KeyboardInterrupt:
    print("interrupted", terminated() and signal.getsignal(signal.SIGTERM) is before)
"""
    assert told(script) == ["none yet True", "interrupted True"]


def test_sigterm_waits_where_ctrl_c_waits():
    script = """
with termination_interrupts() as terminated, interrupts_wait() as interrupted:
    signal.raise_signal(signal.SIGTERM)
    print("waits", terminated() and interrupted())
"""
    assert told(script) == ["waits True"]


def test_an_interrupt_tells_the_call_from_how_far_it_came():
    stop = Stopped("stopped after a;b", "the same call goes on")
    assert (stop.progress, str(stop)) == ("stopped after a;b", "stopped after a;b; the same call goes on")
    assert str(Stopped("stopped")) == "stopped"


def test_a_verb_runs_outside_the_main_thread():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["run", "99"])))
    thread.start()
    thread.join()
    assert codes == [2]


def labkit_terminated(folder, *arguments, when):
    """The process of a command that got SIGTERM once `when(its process)`, what it said, and who is still alive."""
    command = [sys.executable, "-m", "labkit", *arguments]
    with open(folder / "said", "w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, cwd=folder)
        me = psutil.Process(process.pid)
        while process.poll() is None and not when(me):
            time.sleep(0.05)
        family = me.children(recursive=True)
        process.terminate()
        code = process.wait(timeout=120)
        said.seek(0)
        _, alive = psutil.wait_procs(family, timeout=20)  # those that had just begun find their parent gone
        for one in alive:
            one.kill()
        return code, said.read().splitlines()[-1], alive


def test_no_process_outlives_a_build_that_gets_sigterm(tmp_path):
    workers = lambda process: sum("popen_loky" in " ".join(p.cmdline()) for p in process.children(recursive=True))
    typed = ["tabular", "build", "--data", "digits", "--seeds", "1", "--workers", "2", "--out", "TRUTH"]
    code, said, alive = labkit_terminated(tmp_path, *typed, when=lambda process: workers(process) == 2)
    assert code == 143 and alive == []
    assert said == "labkit: stopped; the same command resumes from what is finished in TRUTH"
