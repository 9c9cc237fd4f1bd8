"""Crash points: every call of a workload is found, and a queue that falls at one of them is told which."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest
from monkeywrench.harness import Guarantees, Plan, PlanError, Survey, Trial, crash_points, messages, run
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.survey import points_of, survey


class DropsOnPut(SimplePipeQueueAdapter):
    """The fourth message of a producer never leaves it."""

    def put(self, end, message):
        if message[1] != 3:
            super().put(end, message)


PLAN = Plan(queue="pipes.SimplePipeQueue", messages=2, large_every=2, seed=3)


def test_right_queue_survives_all_points_of_a_producer():
    found = Trial(seed=3, messages=2, large_every=2).crash_points(of=("producer",))
    assert found.valid, found
    assert {"open", "put", "close"} == found.counts().keys()
    assert len(found) == len(found.points) == len(found.verdicts) == sum(found.counts().values())
    # Exactly these: before and after each call, and torn inside of those that transfer bytes.
    for call in dict.fromkeys(point.call for point in found.points):
        ats = [point.at for point in found.points if point.call == call]
        assert [at.after for at in ats] == [False] * (len(ats) - 1) + [True]
        torn = [at.byte for at in ats if at.byte]
        assert torn == ([1, call.size // 2, call.size - 1] if call.kind == "write" else [])
    struck = [strike for verdict in found.verdicts for strike in verdict.struck]
    assert len(struck) == len(found), "each trial has killed exactly one peer"


def test_small_and_large_messages_have_their_own_calls():
    calls = Trial(seed=3, messages=2, large_every=2).calls("producer-0")
    assert {call.kind for call in calls if call.inside == "put 1"} == {"write"}
    assert {"open", "write", "close"} <= {call.kind for call in calls if call.inside == "put 2"}
    assert max(call.size for call in calls if call.inside == "put 2") > 4096
    assert all(call.where for call in calls)


def test_same_plan_has_the_same_points_again():
    first, again = (
        [call for peer in ("producer-0", "consumer-0") for call in Trial(seed=3, messages=3).calls(peer)]
        for _ in range(2)
    )
    assert first == again


def test_plans_are_yielded_for_those_who_run_them_themselves():
    plans = list(crash_points(PLAN, of=("consumer-0",)))
    calls = Trial(seed=3, messages=2, large_every=2).calls("consumer-0")
    assert len(plans) == len(points_of(calls, SimplePipeQueueAdapter.guarantees)) > 2 * len(calls) > 20
    assert len({plan.name for plan in plans}) == len(plans)
    for plan in plans:
        (kill,) = plan.faults
        assert isinstance(kill, Kill)
        assert kill.peer == "consumer-0"
        assert Plan.loads(plan.dumps()) == plan
    verdict = run(plans[-1])
    assert verdict.valid, verdict


@pytest.mark.parametrize("of", [("nobody",), ("producer", "consumer-9"), ()])
def test_peers_that_are_none_are_refused(of):
    with pytest.raises(PlanError, match="allowed are producer, consumer, producer-0, consumer-0"):
        next(crash_points(PLAN, of=of))


def test_point_of_a_peer_that_is_killed_anyway_is_refused():
    with pytest.raises(PlanError, match="producer-0 is killed twice"):
        list(crash_points(PLAN.with_faults(Kill("producer-0", messages(1)))))


class Split(SimplePipeQueueAdapter):
    """The length in one write and the rest in another, as if nobody ever died in between."""

    guarantees = Guarantees(types=("str", "int", "list"))

    def make(self, directory):
        self._path = self.fifo(directory)
        os.mkfifo(self._path)
        self._held = os.open(self._path, os.O_RDWR)

    def open(self, role):
        return os.open(self._path, os.O_RDWR)

    def put(self, end, message):
        data = repr(message).encode()
        os.write(end, len(data).to_bytes(4, "big"))
        os.write(end, data)

    def get(self, end):
        size = int.from_bytes(os.read(end, 4), "big")
        return eval(os.read(end, size))  # messages of the harness's own

    def close(self, end):
        os.close(end)

    def destroy(self):
        os.close(self._held)
        self._path.unlink()


class Promising(Split):
    """The same, and it promises to withstand what it cannot."""

    guarantees = Guarantees(types=("str", "int", "list"), foreign_bytes=True)


def split(queue=Split, messages=2):
    return Trial(queue, seed=3, messages=messages, large_every=0, patience_s=1).crash_points(of="producer")


def test_torn_header_is_found_at_its_points():
    found = split()
    assert found.status == "invalid"
    assert not found
    # Between the two writes of a put, whichever put it is; and nowhere else.
    failed = {(point.call.inside, point.at.n, point.at.after) for point, _ in found.failed}
    assert failed == {("put 1", 1, True), ("put 1", 2, False), ("put 2", 3, True), ("put 2", 4, False)}
    assert found.beyond == 4
    text = str(found)
    assert f"invalid: 4 invalid, of {len(found)} crash points (" in text
    assert "of producer-0 in put (" in text
    assert "after write 1, in its put 1: " in text
    assert "left out: 4 writes, torn where no POSIX system tears them" in text
    assert len(text.splitlines()) < 30


def test_torn_writes_are_points_of_a_queue_that_promises_foreign_bytes():
    found = split(Promising, messages=1)
    assert found.beyond == 0
    # Each of the two writes has two sides, and is torn at three places; open and close have two sides.
    assert len(found) == 2 * (2 + 3) + 2 + 2
    assert any(point.at.byte for point, _ in found.failed)


class WritesOnly(Split):
    """What the gate sees of it, it says, are its writes."""

    guarantees = Guarantees(types=("str", "int", "list"), gate=("write",))


def test_calls_that_the_gate_does_not_see_are_left_out_and_counted():
    found = split(WritesOnly)
    assert {point.call.kind for point in found.points} == {"write"}
    assert found.unseen == 2
    assert "left out: 2 calls; the gate does not see them" in str(found)


def test_queue_that_fails_without_a_fault_has_no_points():
    found = Trial(DropsOnPut(), seed=3, messages=6).crash_points()
    assert (found.status, len(found)) == ("invalid", 0)
    assert "the queue fails without any fault" in str(found)
    assert "lost: 1 message" in str(found)
    with pytest.raises(PlanError, match=r"without any fault, its dry run is invalid: lost"):
        next(crash_points(Plan(queue="pipes.SimplePipeQueue", messages=6, seed=3), adapter=DropsOnPut()))


class Packets(Split):
    """Each message is one write and one read, of a packet, and so it has few crash points and no bad one."""

    def open(self, role):
        end = super().open(role)
        fcntl.fcntl(end, fcntl.F_SETFL, os.O_DIRECT)
        return end

    def put(self, end, message):
        os.write(end, repr(message).encode())

    def get(self, end):
        return eval(os.read(end, 4096))  # messages of the harness's own


class OnceMore(Packets):
    """The first consumer ever makes one call more than all that follow."""

    def __init__(self, flag):
        self._flag = flag

    def open(self, role):
        if role == "consumer" and not os.path.exists(self._flag):
            os.close(os.open(self._flag, os.O_WRONLY | os.O_CREAT))
        return super().open(role)


def test_point_that_is_not_there_again_is_unknown_and_named(tmp_path):
    trial = Trial(OnceMore(str(tmp_path / "flag")), seed=3, messages=1, large_every=0)
    found = trial.crash_points(of="consumer")
    assert found.status == "unknown"
    assert not found.valid
    # The last open and the last close of the dry run are not there again, and have two sides each.
    assert sorted(str(point.at.kind) for point, _ in found.failed) == ["close", "close", "open", "open"]
    text = str(found)
    assert f"unknown: 4 unknown, of {len(found)} crash points" in text
    assert "it never struck: the gate saw it make 1 close" in text


class Looks(Packets):
    """A consumer looks whether there is anything, and those of the first trial look more often than all others."""

    def __init__(self, flag):
        super().__init__()
        self.flag = Path(flag)

    def get(self, end):
        for _ in range(1 if self.flag.exists() else 2):
            os.close(os.open(os.devnull, os.O_RDONLY))
        return super().get(end)

    def destroy(self):
        super().destroy()
        self.flag.touch()


def test_points_of_a_peer_that_only_looked_less_often_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr("monkeywrench.harness.survey._ATTEMPTS", 2)
    trial = Trial(Looks(tmp_path / "flag"), seed=3, messages=1, large_every=0)
    found = trial.crash_points(of="consumer")
    assert found.valid, found
    # One look less in each of two gets: an open and a close, with two sides each.
    assert found.repeats == 8
    assert "left out: 8 crash points of calls that are made again and again" in str(found)


class More(Packets):
    """A consumer makes a call more."""

    def open(self, role):
        if role == "consumer":
            os.close(os.open(os.devnull, os.O_RDONLY))
        return super().open(role)


def test_point_that_is_not_there_each_time_is_tried_again():
    plan, ran, kept = replace(PLAN, messages=1, large_every=0), [], []

    def every_other_time(plan):
        ran.append(run(plan, adapter=Packets() if len(ran) % 2 else More()))
        return ran[-1]

    def keep(verdict):
        kept.append(verdict)
        return verdict

    found = survey(plan, of=("consumer",), run=every_other_time, keep=keep)
    assert found.valid, found
    missed = [verdict for verdict in ran if verdict.status == "unknown"]
    assert 0 < len(missed) <= 4, "the last open and the last close, each with two sides"
    assert [id(verdict) for verdict in kept] == [id(verdict) for verdict in ran if verdict not in missed]


def test_points_that_were_not_tried_did_not_pass():
    found = survey(PLAN, within_s=0)
    assert found.status == "unknown"
    assert f"{len(found)} not tried, for the time was up (pytest-timeout's" in str(found)


def test_survey_without_points_proves_nothing():
    dry_run = run(PLAN)
    assert Survey(dry_run, (), ()).status == "unknown"


def test_fixture_reports_a_survey_as_one_with_lines_that_replay(pytester, run_pytest):
    pytester.makepyfile(
        """
        import os
        from monkeywrench.harness import Adapter

        class Littered(Adapter):
            def make(self, directory):
                self.directory = directory
                self.ours, self.theirs = os.pipe()

            def put(self, end, message):
                os.write(self.theirs, repr(message).ljust(1000).encode())

            def get(self, end):
                return eval(os.read(self.ours, 1000))

            def close(self, end):
                lock = self.directory / f"lock.{os.getpid()}"
                os.close(os.open(lock, os.O_CREAT | os.O_WRONLY))
                os.unlink(lock)

            def destroy(self):
                os.close(self.ours)
                os.close(self.theirs)

        def test_it(monkeywrench):
            survey = monkeywrench.trial(Littered(), messages=1, large_every=0, seed=3).crash_points(of="producer")
            assert survey.valid, survey
        """
    )
    plain = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result = run_pytest(*plain)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert text.count(" monkeywrench -") == 1
    result.stdout.fnmatch_lines(
        [
            "invalid: 4 invalid, of * crash points (*); test_it on *Littered, seed 3",
            "  leaked: * of producer-0 in close (*os.open(*",
            "    after open 1, in its close: * left behind: file lock.*",
            "      replay: monkeywrench replay */plan.json",
        ]
    )
    for line in [line for line in text.splitlines() if "replay: " in line]:
        path = line.split()[-1]
        again = run(Plan.loads(Path(path).read_text()))
        assert "left behind: file lock." in str(again)
