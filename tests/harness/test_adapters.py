"""The queues that come with the harness, each tried as its guarantees say; and the queues of other distributions."""

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from monkeywrench.harness import Guarantees, PlanError, Trial, elapsed, messages, read, run, strategies
from monkeywrench.harness.adapters import ADAPTERS, known, load, missing
from monkeywrench.harness.adapters.naive import JsonLinesAdapter
from monkeywrench.harness.adapters.pipes_asyncio import PipeQueueAdapter
from monkeywrench.harness.guarantees import KEPT_TYPES
from monkeywrench.harness.workload import Workload

# What is found in a trial in which nothing is broken; these queues cannot do what others can.
FALLS_BY_ITSELF = {
    "turberfield.SimplePipeQueue": {"crashed", "stuck", "corrupted", "unexpected", "lost"},
    "turberfield.PipeQueue": {"lost", "stuck", "crashed", "corrupted", "unexpected"},
}
# What a peer that is killed at any moment may do to a queue. It never has to: it depends on where that found it.
KILLS_MAY_DO = {
    "multiprocessing.Queue": {"stuck"},
    "multiprocessing.SimpleQueue": {"stuck"},
    "multiprocessing.Pipe": {"stuck", "crashed", "corrupted", "unexpected"},
    "faster-fifo": {"stuck", "crashed", "corrupted", "unexpected"},
    "naive.JsonLines": {"stuck", "crashed", "corrupted", "unexpected", "lost"},
    "zeromq.PushPull": {"lost"},
}
# What a peer that is killed between two messages may do.
KILLED_BETWEEN_MAY_DO = {
    # A thread of the producer's own puts what was put, and may be in the middle of it.
    ("multiprocessing.Queue", "producer-0"): {"stuck"},
    # It holds what it has not been asked for.
    ("zeromq.PushPull", "consumer-0"): {"lost"},
}
WORKS = [name for name in ADAPTERS if name not in FALLS_BY_ITSELF]
SEED = 5


def installed(name):
    """Return the adapter of this name, or skip the test with what would have to be installed."""
    reason = missing(name)
    if reason is not None:
        pytest.skip(f"{name} {reason}")
    return load(name)


def kinds(verdict):
    return {finding.kind for finding in verdict.findings}


@pytest.mark.parametrize("name", WORKS)
def test_one_producer_and_one_consumer(name):
    """Messages of all sizes and of every type that the queue says it keeps; and nothing is left behind."""
    adapter = installed(name)
    workload = Workload(SEED, large_every=4, types=adapter.guarantees.types)
    put = {type(workload.message(0, number)[2]).__name__ for number in range(60)}
    assert put == set(adapter.guarantees.types)
    verdict = Trial(name, messages=60, large_every=4, seed=SEED).run()
    assert verdict.valid, verdict
    assert verdict.counts["received"] == 60


@pytest.mark.parametrize("name", WORKS)
def test_several_peers_where_the_queue_is_made_for_them(name):
    guarantees = installed(name).guarantees
    peers = {"producers": guarantees.most_producers or 3, "consumers": guarantees.most_consumers or 2}
    # Of several producers, lines longer than PIPE_BUF are mixed.
    large_every = 0 if name == "naive.JsonLines" else 10
    verdict = Trial(name, messages=20, large_every=large_every, **peers).run()
    assert verdict.valid, verdict


def of_those_installed(names):
    """Return those of these queues that can be used here."""
    return [name for name in names if missing(name) is None]


@pytest.mark.parametrize("peer", ["producer-0", "consumer-0"])
def test_peer_killed_between_two_messages_leaves_the_queue_as_it_was(at_once, peer):
    def trial(name):
        made = Trial(name, messages=30, patience_s=1 if (name, peer) in KILLED_BETWEEN_MAY_DO else 10)
        return made.kill(peer, at=messages(5)).run()

    names = of_those_installed(WORKS)
    for name, verdict in zip(names, at_once(trial, names), strict=True):
        if (name, peer) in KILLED_BETWEEN_MAY_DO:
            assert kinds(verdict) <= KILLED_BETWEEN_MAY_DO[name, peer], verdict
        else:
            assert verdict.valid, verdict


def test_peers_killed_at_any_moment_do_what_is_known_of_them(at_once):
    def trial(name):
        # A queue on a disk is slow, and one that no kill may wedge has all the time that it needs.
        count, patience_s = (60 if name == "persist-queue" else 200), (1 if name in KILLS_MAY_DO else 10)
        made = Trial(name, messages=count, large_every=3, patience_s=patience_s)
        return made.kill("producer-0", at=elapsed(0.008)).kill("consumer-0", at=elapsed(0.016)).run()

    names = of_those_installed(WORKS)
    for name, verdict in zip(names, at_once(trial, names), strict=True):
        assert verdict.status != "unknown" or any("it never struck" in doubt for doubt in verdict.doubts), verdict
        assert kinds(verdict) <= KILLS_MAY_DO.get(name, set()), verdict


def test_queues_that_fall_by_themselves(at_once):
    """See what each adapter says of its queue; whether it falls may depend on who is faster."""

    def found(name):
        trials = (Trial(name, messages=30, patience_s=0.5, seed=seed) for seed in range(20))
        return next((found for trial in trials if (found := kinds(trial.run()))), set())

    names = of_those_installed(FALLS_BY_ITSELF)
    for name, kinds_found in zip(names, at_once(found, names), strict=True):
        assert kinds_found, f"{name} did not fall in 20 trials: has it been mended?"
        assert kinds_found <= FALLS_BY_ITSELF[name], name


class ClaimsEveryType(JsonLinesAdapter):
    guarantees = dataclasses.replace(JsonLinesAdapter.guarantees, types=KEPT_TYPES)


def test_types_that_a_queue_does_not_keep_are_found_if_it_claims_them():
    verdict = Trial(ClaimsEveryType, messages=60, seed=SEED, large_every=0, patience_s=0.5).run()
    assert kinds(verdict) & {"crashed", "corrupted"}, verdict


def test_long_lines_of_several_producers_are_mixed():
    found = set()
    for seed in range(20):
        found = kinds(Trial("naive.JsonLines", producers=3, large_every=1, seed=seed, patience_s=0.5).run())
        if found:
            break
    assert found & {"crashed", "corrupted", "unexpected"}, found


def test_adapter_that_calls_the_system_itself_is_seen_there():
    """Whoever comes after the killed one gets the rest of a line, and ends; then nobody makes room."""
    trial = Trial("naive.JsonLines", messages=30, large_every=1, seed=SEED, patience_s=0.5)
    verdict = trial.kill("consumer-0", at=read(1, after=True)).run()
    (stuck,) = (finding for finding in verdict.findings if finding.kind == "stuck")
    assert "producer-0 waits inside its put" in stuck.sentence, verdict
    assert "naive.py" in stuck.details[0], verdict


@pytest.mark.parametrize("roles", [("producer",), ("consumer",)])
def test_either_class_of_the_built_in_queue_at_either_end(roles):
    trial = Trial(PipeQueueAdapter(roles=roles), producers=2, consumers=2, messages=40)
    verdict = trial.kill("producer-0", at=messages(10)).kill("consumer-0", at=messages(1)).run()
    assert verdict.valid, verdict


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        ({"producers": 2}, "producers=2: multiprocessing.Pipe is made for 1 producer at a time; plan producers=1"),
        ({"consumers": 3}, "consumers=3: multiprocessing.Pipe is made for 1 consumer at a time; plan consumers=1"),
    ],
)
def test_plan_with_more_peers_than_a_queue_is_made_for_is_refused(peers, said):
    with pytest.raises(PlanError, match=said):
        Trial("multiprocessing.Pipe", **peers).run()


@settings(deadline=None, max_examples=20)
@given(strategies.plans("multiprocessing.Pipe", most_faults=0))
def test_drawn_plans_stay_within_what_a_queue_is_made_for(plan):
    assert (plan.producers, plan.consumers) == (1, 1)


def test_fault_at_a_call_of_c_code_is_refused_with_those_that_reach_it():
    class AllInC(JsonLinesAdapter):
        guarantees = Guarantees(gate=())

    with pytest.raises(PlanError, match=r"before read 3: .* sees none of its calls, .*; messages\(n\), elapsed"):
        Trial(AllInC).kill("consumer-0", at=read(3)).run()


def test_one_that_takes_the_place_of_a_killed_peer_is_none_too_many():
    trial = Trial("multiprocessing.Pipe", messages=30)
    trial.kill("producer-0", at=messages(10), replace=True).kill("consumer-0", at=messages(10), replace=True)
    verdict = trial.run()
    assert verdict.valid, verdict
    assert verdict.counts["put"] == 30


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "1"])
def test_limit_of_peers_that_cannot_be_is_refused(most):
    with pytest.raises(ValueError, match=r"most_consumers=.*: allowed are None"):
        Guarantees(most_consumers=most)


@pytest.mark.parametrize("name", ["duplicates", "foreign_bytes", "any_pace"])
def test_promise_that_is_no_truth_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}='no': allowed are True and False"):
        Guarantees(**{name: "no"})


def test_async_adapter_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match=r"Awaited\.get is an async function, and nobody would await it"):

        class Awaited(JsonLinesAdapter):
            async def get(self, end):
                return super().get(end)


@pytest.mark.parametrize(("name", "value"), [("gate", "read"), ("gate", ("raed",)), ("types", "str"), ("types", ())])
def test_names_that_are_no_tuple_of_them_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}=.*: a tuple is allowed"):
        Guarantees(**{name: value})


def test_library_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "monkeywrench.harness.adapters.zeromq", raising=False)
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(PlanError, match=r"queue 'zeromq.Broker' needs an extra: pip install 'monkeywrench\[zeromq\]'"):
        Trial("zeromq.Broker")
    reason = missing("zeromq.Broker")
    assert reason is not None
    assert reason.startswith("needs an extra: pip install 'monkeywrench[zeromq]' (")


def test_what_can_be_used_is_not_missing():
    assert missing("multiprocessing.Pipe") is None


def test_name_that_is_almost_right_is_suggested():
    with pytest.raises(PlanError, match=r"no queue is called 'zeromq.Broke'; did you mean 'zeromq.Broker'"):
        load("zeromq.Broke")
    with pytest.raises(PlanError, match="did you mean 'faster-fifo'"):
        missing("faster_fifo")


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, monkeywrench.harness.adapters as a; a.known(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    libraries = {"zmq", "persistqueue", "faster_fifo", "turberfield.utils.pipes", "multiprocessing", "asyncio"}
    assert not libraries & set(done.stdout.split())


def test_every_extra_of_the_list_is_one_of_the_distribution_and_among_all_of_them():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {each.extra for each in ADAPTERS.values() if each.extra}
    assert needed <= set(extras)
    everything = " ".join(extras["queues"])
    assert all(extra in everything for extra in needed)


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """A distribution of somebody else's, installed in a directory of its own."""
    (tmp_path / "tiny_queue.py").write_text(
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "class TinyAdapter(SimplePipeQueueAdapter):\n    pass\n"
    )
    described(
        tmp_path,
        "tiny-queue",
        "tiny.Queue = tiny_queue:TinyAdapter",
        "tiny.Broken = tiny_queue:NoSuch",
        "multiprocessing.Pipe = tiny_queue:TinyAdapter",
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tiny_queue", None)


def described(directory, name, *queues):
    """Describe a distribution in a directory: what is installed there, and the queues that it brings."""
    info = directory / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[monkeywrench.adapters]", *queues]))


@pytest.mark.usefixtures("distribution")
def test_queue_of_another_distribution_is_known_by_its_name_and_reaches_the_peers():
    assert "tiny.Queue" in known()
    trial = Trial("tiny.Queue", messages=10)
    assert trial.plan.queue == "tiny.Queue"
    verdict = run(trial.plan)
    assert verdict.valid, verdict


@pytest.mark.usefixtures("distribution")
def test_queue_of_another_distribution_that_is_broken_says_so():
    assert missing("tiny.Broken") == "tiny_queue has no 'NoSuch'; its adapters: SimplePipeQueueAdapter, TinyAdapter"


@pytest.mark.usefixtures("distribution")
def test_name_that_two_distributions_claim_is_the_first_ones(tmp_path, monkeypatch):
    (tmp_path / "later").mkdir()
    described(tmp_path / "later", "later-queue", "tiny.Queue = later_queue:Adapter")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "later")])
    assert known()["tiny.Queue"].place == "tiny_queue:TinyAdapter"
    assert type(load("tiny.Queue")).__name__ == "TinyAdapter"


@pytest.mark.usefixtures("distribution")
def test_name_of_the_list_is_not_taken_over_by_another_distribution():
    assert known()["multiprocessing.Pipe"] == ADAPTERS["multiprocessing.Pipe"]
    assert type(load("multiprocessing.Pipe")).__name__ == "PipeAdapter"


@pytest.mark.usefixtures("distribution")
def test_name_of_another_distribution_is_suggested_too():
    with pytest.raises(PlanError, match=r"did you mean 'tiny.Queue'\? \(known: .*tiny.Queue"):
        load("tiny.Queu")
