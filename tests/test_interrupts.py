"""Ctrl-C waits for a step, and SIGTERM is answered as Ctrl-C is."""

import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from labkit.cli import main
from labkit.interrupts import Stopped, interrupts_wait, termination_interrupts


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own answer to Ctrl-C. Another test may have left the system's, which ends the process that runs them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if before is not None:  # else it was set outside Python
        signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_acts_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts_wait() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second interrupt was held back")


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
    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", put_back)
        for block in (interrupts_wait, termination_interrupts):
            with block() as asked:
                assert not asked()


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_interrupts_even_where_ctrl_c_is_ignored(on_interrupt):
    before, earlier = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, on_interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), termination_interrupts() as terminated:
            assert not terminated()
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("SIGTERM did nothing")
        assert terminated() and signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGINT, earlier)


def test_sigterm_waits_where_ctrl_c_waits():
    with termination_interrupts() as terminated, interrupts_wait() as interrupted:
        signal.raise_signal(signal.SIGTERM)
        assert terminated() and interrupted()


def test_an_interrupt_tells_the_call_from_how_far_it_came():
    stop = Stopped("stopped after a;b", "the same call goes on")
    assert (stop.came, str(stop)) == ("stopped after a;b", "stopped after a;b; the same call goes on")
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
    typed = ["truth", "build", "--data", "digits", "--seeds", "1", "--workers", "2", "--out", "TRUTH"]
    code, said, alive = labkit_terminated(tmp_path, *typed, when=lambda process: workers(process) == 2)
    assert code == 143 and alive == []
    assert said == "labkit: stopped; the same command goes on from what is finished in TRUTH"
