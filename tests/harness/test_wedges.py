"""One killed peer, and a queue is wedged for good: the verdict names who was killed, where, and who waits for what.

The same plans leave the built-in queue as it was.
"""

import pytest
from monkeywrench.harness import Trial, blocked, elapsed, messages, write
from monkeywrench.harness.adapters import missing

BUILT_IN = ["pipes.SimplePipeQueue", "pipes.PipeQueue"]
WEDGED = {
    # The lock that the killed consumer held, seen from the newcomer's stack.
    "multiprocessing.Queue": "with self._rlock",
    "multiprocessing.SimpleQueue": "with self._rlock",
    # Its lock is the C library's: the last that is seen of a stuck peer is its call into C code.
    "faster-fifo": "in get: return self._queue.get(",
}


def needs(queue):
    reason = missing(queue)
    if reason is not None:
        pytest.skip(f"{queue} {reason}")


def patience_of(queue):
    """Return how long it takes to believe that a queue is wedged: that of the others, nobody doubts."""
    return 10 if queue in BUILT_IN else 0.5


def judged(trial_of, statuses=("valid", "invalid"), most=5):
    """Run the trials of one seed after the other until one has a verdict with such a status, and return it."""
    for seed in range(most):
        verdict = trial_of(seed).run()
        if verdict.status in statuses:
            return verdict
    pytest.fail(f"no verdict of {most} trials was {' or '.join(statuses)}; the last: {verdict}")


def consumer_killed_while_it_waits(queue):
    """Return the trials in which the producer is stopped for a while, and the consumer that waits for it is killed."""

    def trial(seed):
        made = Trial(queue, messages=50, seed=seed, patience_s=patience_of(queue))
        return made.pause("producer-0", at=messages(1), seconds=0.3).kill("consumer-0", at=blocked())

    return trial


def test_consumer_killed_while_it_waits_wedges(at_once):
    """faster-fifo: 60 of 60 trials (glibc 2.36), but for a crowded machine, where C code that is seen asleep may be
    anywhere. Its condition variable counts on everyone who waits to wake up.
    """
    queues = [queue for queue in WEDGED if missing(queue) is None]
    verdicts = at_once(lambda queue: judged(consumer_killed_while_it_waits(queue), ["invalid"]), queues)
    for queue, verdict in zip(queues, verdicts, strict=True):
        check_that_the_newcomer_waits_in_vain(verdict, WEDGED[queue])


def check_that_the_newcomer_waits_in_vain(verdict, held):
    assert {finding.kind for finding in verdict.findings} == {"stuck"}, verdict
    waiting = next(finding for finding in verdict.findings if finding.peers[0] == "heal-consumer-0")
    assert "heal-consumer-0 waits inside its get " in waiting.sentence
    assert waiting.sentence.endswith("since consumer-0 was killed")
    assert any(held in line for line in waiting.details), waiting
    (killed,) = (sentence for sentence in verdict.struck if "SIGKILL" in sentence)
    assert killed.startswith("SIGKILL to consumer-0 once it is blocked, inside its get "), killed


@pytest.mark.parametrize("queue", BUILT_IN)
def test_consumer_killed_while_it_waits_leaves_the_built_in_queue_as_it_was(queue):
    verdict = judged(consumer_killed_while_it_waits(queue))
    assert verdict.valid, verdict


def producer_killed_inside_a_long_put(queue):
    """Return the trials in which a producer dies when a part of its first message, a long one, is written."""

    def trial(seed):
        made = Trial(queue, producers=2, messages=20, large_every=1, seed=seed, patience_s=patience_of(queue))
        return made.kill("producer-0", at=write(1, byte=4096))

    return trial


def test_producer_killed_inside_a_long_put_wedges(at_once):
    """Half a message is in the pipe, and the lock of those who write is nobody's: consumer and producer both wait."""
    queues = "multiprocessing.Queue", "multiprocessing.SimpleQueue"
    for verdict in at_once(lambda queue: judged(producer_killed_inside_a_long_put(queue)), queues):
        check_that_all_wait(verdict)


def check_that_all_wait(verdict):
    assert {finding.kind for finding in verdict.findings} == {"stuck"}, verdict
    stuck = {finding.peers[0]: " ".join(finding.details) for finding in verdict.findings}
    assert "_recv" in stuck["consumer-0"], verdict
    # The other producer, or, should that have been through before, the heal's.
    assert any("producer-" in peer for peer in stuck), verdict
    assert all(finding.sentence.endswith("since producer-0 was killed") for finding in verdict.findings), verdict
    assert "4096 bytes into write 1" in verdict.struck[0], verdict


@pytest.mark.parametrize("queue", BUILT_IN)
def test_producer_killed_inside_a_long_put_leaves_the_built_in_queue_as_it_was(queue):
    verdict = judged(producer_killed_inside_a_long_put(queue))
    assert verdict.valid, verdict


def producer_killed_at_random(queue, seed):
    """Return a trial in which four producers crowd before the lock with long messages, and one is killed."""
    trial = Trial(queue, producers=4, consumers=2, messages=600, large_every=1, seed=seed, patience_s=1.5)
    return trial.kill("producer-0", at=elapsed(0.02 + 0.003 * (seed % 20)))


def test_producer_killed_at_random_wedges_faster_fifo():
    """It copies the message under the lock. 27 of 60 trials found the producer there, fewer on a crowded machine; and
    those who wait for the lock then are the other producers, unless they had put all of theirs before.
    """
    queue = "faster-fifo"
    needs(queue)
    for seed in range(60):
        verdict = producer_killed_at_random(queue, seed).run()
        if any(finding.peers[0].startswith("producer-") for finding in verdict.findings):
            break
    assert {finding.kind for finding in verdict.findings} == {"stuck"}, verdict
    assert any(finding.peers[0].startswith("producer-") for finding in verdict.findings), verdict
    assert all(finding.sentence.endswith("since producer-0 was killed") for finding in verdict.findings), verdict
    assert "inside its put " in verdict.struck[0], verdict


def test_producer_killed_at_random_leaves_the_built_in_queue_as_it_was():
    verdict = judged(lambda seed: producer_killed_at_random("pipes.SimplePipeQueue", seed))
    assert verdict.valid, verdict
