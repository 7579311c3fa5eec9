"""Who computes which row when changes no map, and no image is an answer too."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from audit.attributions._schedule import Work, finish
from audit.attributions._smoothgrad import SmoothGrad
from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.attributions.gradient import Gradient
from audit.attributions.guided_integrated_gradients import GuidedIntegratedGradients
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.attributions.xrai import XRAI
from tests.audit.fake_classifiers import FakeClassifier, ramp

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 4, 3))
IMAGES = RNG.random((9, 4, 4, 3), dtype=np.float32)
METHODS = [
    Gradient(),
    IntegratedGradients(error_budget=0.005),
    IntegratedGradients("black_white", n_steps=70),
    BlurIntegratedGradients(error_budget=0.005),
    GuidedIntegratedGradients(n_steps=12),
    SmoothGrad(Gradient(), n_samples=7),
    SmoothGrad(IntegratedGradients(), n_samples=3),
    XRAI(),
]


def explain(method, images, **options):
    classifier = FakeClassifier(ramp(WEIGHTS, knee=0.3, slope=4.0), **options)
    targets, seeds = np.arange(len(images)) % 2, np.arange(len(images), dtype=np.uint64)
    return method(classifier, images, targets, seeds)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_several_callers_give_the_maps_of_one(method):
    alone = explain(method, IMAGES, batch_size=5, callers=1)
    together = explain(method, IMAGES, batch_size=2, callers=3)

    np.testing.assert_array_equal(together.maps, alone.maps)
    np.testing.assert_array_equal(together.n_gradients, alone.n_gradients)
    np.testing.assert_array_equal(together.local_error, alone.local_error)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_of_no_images_there_are_no_maps(method):
    result = explain(method, IMAGES[:0])

    assert result.maps.shape == (0, 4, 4)
    assert result.maps.dtype == np.float32
    assert len(result.status) == len(result.approx_error) == len(result.n_gradients) == 0
    assert result.resolution == (4, 4)


def countdown(number):
    """Asks once for as many rows as it has left, then for one less; its result is what it was sent."""
    seen = []
    for left in range(number, 0, -1):
        seen += yield [(number, left)] * left, left
    return seen


def test_walks_are_sent_what_they_asked_for_in_calls_as_full_as_can_be():
    calls = []

    def evaluate(numbers, rows):
        calls.append(len(rows))
        assert [number for number, _ in rows] == [number + 1 for number in numbers]
        return [10 * number + left for number, left in rows]

    work = Work(3, lambda number: countdown(number + 1), evaluate, value_bytes=1)

    # Two open at first: 1 row of the first walk, 2 of the second and so on, ten in all, never more than four.
    assert finish(work, batch_size=4, callers=1) == [[11], [22, 22, 21], [33, 33, 33, 32, 32, 31]]
    assert sum(calls) == 10
    assert calls == [4, 3, 2, 1]


def test_a_failing_call_ends_the_others_and_is_raised():
    def evaluate(numbers, rows):
        if 5 in numbers:
            raise ValueError("row of walk 5")
        return rows

    work = Work(40, lambda number: countdown(3), evaluate, value_bytes=1)

    with pytest.raises(ValueError, match="row of walk 5"):
        finish(work, batch_size=2, callers=2)


def interrupting(calls, at):
    """Computes rows, and interrupts the main thread at the call of that number."""

    def evaluate(numbers, rows):
        calls.append(numbers)
        if len(calls) == at:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.005)
        return rows

    return Work(2000, lambda number: countdown(1), evaluate, value_bytes=1)


def test_an_interrupt_ends_the_calls_that_are_not_under_way():
    calls = []
    with pytest.raises(KeyboardInterrupt):
        finish(interrupting(calls, at=3), batch_size=2, callers=2)
    # Of a thousand calls; a busy machine may bring the interrupt to the waiting thread a little late.
    assert len(calls) < 500


def test_an_interrupt_while_callers_are_started_ends_them_too(monkeypatch):
    calls, submit = [], ThreadPoolExecutor.submit

    def slowly(pool, run):
        started = submit(pool, run)
        time.sleep(0.2)  # as on a busy machine: the first caller is at work before the second is started
        return started

    monkeypatch.setattr(ThreadPoolExecutor, "submit", slowly)
    with pytest.raises(KeyboardInterrupt):
        finish(interrupting(calls, at=1), batch_size=2, callers=2)
    time.sleep(0.3)
    # A caller that went on would have made some sixty calls by now.
    assert len(calls) < 30
