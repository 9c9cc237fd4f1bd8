"""Functions of one's own as peers: what they return and print, how they end, and the faults in their way."""

import io
import math
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import pytest
from monkeywrench.harness import (
    HarnessError,
    PeerError,
    PlanError,
    _travel,
    blocked,
    call,
    elapsed,
    every,
    messages,
    ready,
    spawn,
    start,
    write,
)
from monkeywrench.harness.faults import Delay, Error, Foreign, Kill, Limit, Noop, Pause, Short, Shrink
from monkeywrench.pipes import SimplePipeQueue


def adds(one, other=2):
    print("adding")  # noqa: T201 -- what a peer prints is what is tested
    ready()
    return one + other


def writes(path, times):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    written = [os.write(descriptor, b"line\n") for _ in range(times)]
    os.close(descriptor)
    return written


def waits():
    reader, _ = os.pipe()
    ready()
    os.read(reader, 1)


def raises():
    raise ValueError("not today")


def test_function_returns_and_prints():
    with spawn(adds, 1, other=4) as peer:
        peer.wait_ready()
        assert peer.result() == 5
        assert peer.output == "adding\n"
        assert peer.exitcode == 0
        assert peer.trouble is None


def test_local_function_and_closure_travel():
    base = 40

    def local(more):
        return base + more

    with spawn(local, 2) as peer:
        assert peer.result() == 42


def test_it_runs_in_a_process_of_its_own():
    with spawn(os.getpid) as peer:
        assert peer.result() == peer.pid != os.getpid()


def test_error_has_the_traceback_of_the_function_alone():
    with spawn(raises, name="producer") as peer:
        with pytest.raises(PeerError) as caught:
            peer.result()
        assert "producer ended by exit status 70" in str(caught.value)
        assert "ValueError: not today" in str(caught.value)
        assert "_spawned.py" not in str(caught.value)
        assert peer.trouble is None  # it was told


def test_failure_that_nobody_was_told_of_is_trouble_unless_it_may_be():
    with spawn(raises, name="producer") as peer:
        assert peer.join() == 70
        assert peer.trouble == "producer ended by exit status 70"
    with spawn(raises, may_fail=True) as peer:
        assert peer.join() == 70
        assert peer.trouble is None


def test_sys_exit_is_an_exit():
    def leaves():
        raise SystemExit(3)

    with spawn(leaves) as peer:
        assert peer.join() == 3


FAULTS = {
    "kill before write": (Kill("w", write(3)), -signal.SIGKILL, b"line\n" * 2),
    "kill in write": (Kill("w", write(3, byte=2)), -signal.SIGKILL, b"line\n" * 2 + b"li"),
    "kill after write": (Kill("w", write(3, after=True)), -signal.SIGKILL, b"line\n" * 3),
    "terminate": (Kill("w", write(3), "SIGTERM"), -signal.SIGTERM, b"line\n" * 2),
    "interrupt": (Kill("w", write(3), "SIGINT"), 70, b"line\n" * 2),
    "kill at start": (Kill("w", start()), -signal.SIGKILL, b""),
    "short": (Short("w", write(3), 2), 0, b"line\n" * 2 + b"li" + b"line\n" * 2),
    "error": (Error("w", write(3), "ENOSPC"), 70, b"line\n" * 2),
    "error at every": (Error("w", every(4, "write"), "EIO"), 70, b"line\n" * 3),
    "limit": (Limit("w", start()), 70, b""),
    "pause": (Pause("w", write(3), 0.3), 0, b"line\n" * 5),
    "delay": (Delay("w", write(3), 0.3), 0, b"line\n" * 5),
    "noop": (Noop("w", call("open", 1)), 0, b"line\n" * 5),
}


@pytest.mark.parametrize(("fault", "exitcode", "written"), FAULTS.values(), ids=FAULTS)
def test_fault_befalls_the_function(tmp_path, fault, exitcode, written):
    file = tmp_path / "file"
    file.touch()
    with spawn(writes, str(file), 5, name="w", faults=[fault]) as peer:
        assert peer.join() == exitcode
        assert peer.struck == (str(fault),)
        assert peer.missed == ()
    assert file.read_bytes() == written


@pytest.mark.parametrize("trigger", [elapsed(0.05), blocked()], ids=str)
def test_fault_from_outside_befalls_the_function(trigger):
    with spawn(waits, name="w", faults=[Kill("w", trigger)]) as peer:
        assert peer.join() == -signal.SIGKILL
        assert peer.struck == (str(Kill("w", trigger)),)
        assert peer.trouble is None


def forks(path):
    pid = os.fork()
    if pid == 0:
        return writes(path, 5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_process_that_the_function_forks_is_struck_by_nothing_and_returns_nothing(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with spawn(forks, str(file), name="w", faults=[Kill("w", write(3))]) as peer:
        assert peer.result() == 0
        assert "the gate saw it make 0 writes" in peer.trouble
    assert file.read_bytes() == b"line\n" * 5


def test_fault_that_never_strikes_is_trouble(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with spawn(writes, str(file), 5, name="w", faults=[Kill("w", write(6))]) as peer:
        assert peer.result() == [5] * 5
        assert peer.trouble == (
            "SIGKILL to w before write 6: it never struck: the gate saw it make 5 writes "
            "(by os.write, or a socket's methods)"
        )


def test_it_is_paused_resumed_and_killed_from_the_test():
    with spawn(waits) as peer:
        peer.wait_ready()
        peer.wait_blocked()
        assert peer.stack()[0].endswith("os.read(reader, 1)")
        peer.pause()
        with pytest.raises(HarnessError, match=r"waited in vain for its end \(waits\), for 0.1 s; it is stopped"):
            peer.join(0.1)
        with pytest.raises(HarnessError, match="it is stopped, and resume\\(\\) lets it go on"):
            peer.join(0.1)
        for wrong in ("1", -1, math.nan):
            with pytest.raises(PlanError, match="seconds from 0 are allowed"):
                peer.join(wrong)
        peer.resume()
        peer.kill()
        assert peer.join() == -signal.SIGKILL
        assert peer.trouble is None


def test_wait_that_is_in_vain_tells_where_it_is():
    with spawn(waits) as peer:
        peer.wait_ready()
        peer.wait_blocked()
        with pytest.raises(HarnessError, match=r"it is\n    .*os\.read\(reader, 1\)"):
            peer.result(0.2)


def test_end_before_it_is_ready_is_told():
    with spawn(raises) as peer, pytest.raises(PeerError, match="ended by exit status 70 before it was ready"):
        peer.wait_ready()


def goes(status):
    os._exit(status)


@pytest.mark.parametrize(("function", "status"), [(sys.exit, 0), (sys.exit, 256), (goes, 0)])
def test_end_without_a_result_is_told(function, status):
    with spawn(function, status) as peer, pytest.raises(PeerError, match="ended by exit status 0 without having retu"):
        peer.result()


def test_reason_that_a_function_exits_with_is_told():
    with spawn(sys.exit, "no more disks") as peer, pytest.raises(PeerError, match="exit status 1\n  no more disks"):
        peer.result()


def without_stderr(what, error):
    match what:
        case "closed":
            sys.stderr.close()
        case "none":
            sys.stdout = sys.stderr = None
        case "replaced":
            sys.stderr = io.StringIO()
    raise error


@pytest.mark.parametrize("what", ["closed", "none", "replaced"])
@pytest.mark.parametrize(("error", "status"), [(ValueError("not today"), 70), (SystemExit("not today"), 1)])
def test_reason_is_told_whatever_has_become_of_standard_error(what, error, status):
    with spawn(without_stderr, what, error) as peer, pytest.raises(PeerError, match="not today"):
        peer.result()
    assert peer.exitcode == status


def test_end_by_a_signal_without_a_name_is_told():
    with spawn(lambda: os.kill(os.getpid(), 40)) as peer, pytest.raises(PeerError, match="ended by signal 40"):
        peer.result()


def closes():
    sys.stdout.close()
    sys.stderr = None
    return "done"


def root():
    return "done"


def names_itself():
    with open("/proc/self/comm", "wb") as file:
        file.write(b"\xff\xfe")
    waits()


@pytest.mark.parametrize("function", [closes, root])
def test_function_may_be_called_anything_and_close_its_output(function):
    with spawn(function) as peer:
        assert peer.result() == "done"


def test_process_may_call_itself_anything():
    with spawn(names_itself) as peer:
        peer.wait_blocked()


def test_peer_that_runs_another_program_has_no_stack_and_runs_on(tmp_path):
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    with spawn(os.execvp, "sh", ["sh", "-c", 'echo begun > "$0"; exec sleep 600', str(begun)]) as peer:
        assert begun.read_text() == "begun\n"
        assert peer.stack() == []
        assert peer.running


def test_signal_that_is_none_is_refused():
    with spawn(waits) as peer, pytest.raises(PlanError, match=r"signal='SIGFOO': a name is allowed: .*SIGTERM"):
        peer.kill("SIGFOO")


def test_nothing_is_left_of_it_and_what_it_started():
    def starts_another():
        pid = os.fork()
        if pid == 0:
            signal.pause()
        return pid

    with spawn(starts_another) as peer:
        child = peer.result()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([Kill("other", write(1))], "its peer is 'other', and this one is 'w'"),
        ([Kill("w", messages(1))], "nobody but the function knows what its messages are"),
        ([Delay("w", every(1))], "nobody but the function knows what its messages are"),
        ([Foreign("w", write(1))], "has no FIFO that the harness knows of"),
        ([Shrink()], "befalls the queue of a trial"),
        ([Kill("w", write(1), replace=True)], "nobody but the test knows what a function has left to do"),
        (Kill("w", write(1)), r"a list of faults is allowed: faults=\[…\]"),
    ],
)
def test_fault_that_cannot_be_is_refused(faults, message):
    with pytest.raises(PlanError, match=message):
        spawn(waits, name="w", faults=faults)


@pytest.fixture
def busy_threads():
    """Threads take turns after every few bytecodes."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("busy_threads")
def test_whatever_threads_send_at_the_same_time_travels():
    with ThreadPoolExecutor(8) as pool:
        packed = list(pool.map(lambda _: _travel.parcel(raises).data, range(400)))
    assert set(packed) == {packed[0]}


def test_what_a_user_has_travel_by_value_goes_on_doing_so():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    _travel.parcel(raises)
    cloudpickle.unregister_pickle_by_value(module)  # which refuses what is not registered


def test_result_that_cannot_travel_back_is_told():
    with (
        spawn(threading.Lock) as peer,
        pytest.raises(PeerError, match=r"what it returned, <unlocked .*>, cannot travel"),
    ):
        peer.result()


def test_name_that_no_file_can_have_is_refused():
    with pytest.raises(PlanError, match="240 bytes at most are allowed"):
        spawn(raises, name="x" * 241)


def test_what_cannot_travel_is_refused():
    with pytest.raises(PlanError, match=r"adds cannot travel to the peers: .* is made in the peer"):
        spawn(adds, (number for number in ()))


def test_a_killed_producer_costs_the_queue_nothing(fifo_path):
    def produces(path):
        with SimplePipeQueue(path) as queue:
            ready()
            for number in range(100):
                queue.put(number)

    with SimplePipeQueue(fifo_path, history=False) as queue:
        with spawn(produces, fifo_path, faults=[Kill("produces", write(50))]) as peer:
            assert peer.join() == -signal.SIGKILL
        got = []
        while not queue.empty():
            got.append(queue.get_nowait())
    assert got == list(range(len(got)))
    # Some of its 50 writes find out, on a pipe of its own, whether the system keeps packets apart.
    assert len(got) in range(45, 50)


def test_many_at_once():
    peers = [spawn(adds, number) for number in range(20)]
    assert [peer.result() for peer in peers] == [number + 2 for number in range(20)]
    for peer in peers:
        peer.close()


def surroundings():
    return os.environ.get("STAGE"), os.getcwd()


def test_it_has_the_environment_and_the_directory_of_whoever_spawns_it(tmp_path):
    """As they are then, and not what some earlier test had made of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("STAGE", "one")
        monkeypatch.chdir(tmp_path)
        with spawn(surroundings) as peer:
            assert peer.result() == ("one", str(tmp_path))
    with spawn(surroundings) as peer:
        assert peer.result() == (None, os.getcwd())
