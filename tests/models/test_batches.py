"""Common batches of several threads, and what happens when memory runs out; the network is a plain function."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest

from bids_hypo.models.batches import SharedNetwork


def _slices(n, seed=0):
    return np.random.default_rng(seed).random((n, 4, 6, 2), np.float32)


def _two_classes(x):
    return np.stack([x.sum(-1), 1 - x.sum(-1)], axis=-1)


def _network(call, **options):
    return SharedNetwork(lambda on_cpu: call, **{"batch_size": 8, "n_classes": 2, "name": "net"} | options)


def _wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_slices_come_back_in_their_order_and_batches_have_one_size():
    sizes = []

    def call(x):
        sizes.append(len(x))
        return _two_classes(x)

    x = _slices(21)
    np.testing.assert_array_equal(_network(call)(x), _two_classes(x))
    assert sizes == [8, 8, 8]


def test_no_slices_give_no_slices():
    assert _network(_two_classes)(_slices(0)).shape == (0, 4, 6, 2)


def test_slices_of_several_callers_share_a_batch():
    begun, go_on, batches = Event(), Event(), []

    def call(x):
        batches.append(x.copy())
        if len(batches) == 1:
            begun.set()
            assert go_on.wait(30)
        return _two_classes(x)

    network, xs = _network(call), [_slices(5, seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(network, xs[0])
        assert begun.wait(30)
        others = [pool.submit(network, x) for x in xs[1:]]
        _wait_for(lambda: len(network._waiting) == 10)
        go_on.set()
        for x, future in zip(xs, [first, *others], strict=True):
            np.testing.assert_array_equal(future.result(30), _two_classes(x))
    assert len(batches) == 3  # 5 (padded), then 8 of the 10 that waited, then 2
    held = {tuple(x) for x in batches[1].reshape(8, -1)}
    assert held & {tuple(x) for x in xs[1].reshape(5, -1)} and held & {tuple(x) for x in xs[2].reshape(5, -1)}


def test_many_threads_get_their_own_results():
    network, together = _network(_two_classes), Barrier(8)

    def one(seed):
        together.wait()
        for n in (1, 7, 8, 20):
            x = _slices(n, seed * 100 + n)
            np.testing.assert_array_equal(network(x), _two_classes(x))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))


def test_two_lanes_work_at_the_same_time():
    both = Barrier(2, timeout=20)

    def call(x):
        both.wait()  # breaks, and so fails the test, if batches come one after the other
        return _two_classes(x)

    network, xs = _network(call, n_lanes=2), [_slices(8, seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for x, found in zip(xs, pool.map(network, xs), strict=True):
            np.testing.assert_array_equal(found, _two_classes(x))


def test_lanes_that_run_out_of_memory_together_halve_the_batch_once():
    both, sizes = Barrier(2, timeout=20), []

    def call(x):
        sizes.append(len(x))
        if len(x) == 8:
            both.wait()
            raise MemoryError("no")
        return _two_classes(x)

    network, xs = _network(call, n_lanes=2), [_slices(8, seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for x, found in zip(xs, pool.map(network, xs), strict=True):
            np.testing.assert_array_equal(found, _two_classes(x))
    assert sorted(sizes) == [4, 4, 4, 4, 8, 8]
    assert network.fallbacks == ("net: batch of 4 slices, for want of memory",)


def test_slices_of_different_sizes_never_share_a_batch():
    network = _network(_two_classes)
    small, large = _slices(3), np.ones((3, 8, 8, 2), np.float32)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(network, [small, large] * 20))
    assert all(f.shape[:3] == (3, *size) for f, size in zip(found, [(4, 6), (8, 8)] * 20, strict=True))


def _with_room_for(n):
    def call(x):
        if len(x) > n:
            raise MemoryError("no")
        return _two_classes(x)

    return call


def test_out_of_memory_halves_the_batch_and_says_so(caplog):
    network, x = _network(_with_room_for(3)), _slices(11)
    np.testing.assert_array_equal(network(x), _two_classes(x))
    assert network.fallbacks == ("net: batch of 2 slices, for want of memory",)
    assert "batch of 4" in caplog.text and "batch of 2" in caplog.text
    np.testing.assert_array_equal(network(x), _two_classes(x))


def test_out_of_memory_with_one_slice_goes_to_the_cpu():
    def make_call(on_cpu):
        return _two_classes if on_cpu else _with_room_for(0)

    network = SharedNetwork(make_call, batch_size=2, n_classes=2, name="net")
    x = _slices(5)
    np.testing.assert_array_equal(network(x), _two_classes(x))
    assert network.fallbacks == (
        "net: batch of 1 slices, for want of memory",
        "net: on the CPU, for want of memory",
    )


def test_out_of_memory_everywhere_is_an_error_that_says_what_to_do():
    with pytest.raises(MemoryError, match="net: not even one slice fits into memory; free some"):
        _network(_with_room_for(0))(_slices(3))


def test_an_answer_of_another_shape_is_an_error_of_all_its_callers():
    """Also of those whose slices another thread ran; they must not wait for ever."""
    both, begun = Event(), Event()

    def call(x):
        begun.set()
        assert both.wait(30)
        return x

    network = SharedNetwork(lambda on_cpu: call, batch_size=8, n_classes=3, name="net")
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(network, _slices(12))]
        assert begun.wait(30)
        futures.append(pool.submit(network, _slices(2)))
        _wait_for(lambda: len(network._waiting) == 6)
        both.set()
        for future in futures:
            with pytest.raises(ValueError, match="broadcast"):
                future.result(30)


def test_an_error_reaches_its_callers_and_the_network_goes_on():
    def call(x):
        if (x == 7).any():
            raise ValueError("bad slice")
        return _two_classes(x)

    network, bad = _network(call), np.full((20, 4, 6, 2), 7, np.float32)
    with pytest.raises(ValueError, match="bad slice"):
        network(bad)
    x = _slices(9)
    np.testing.assert_array_equal(network(x), _two_classes(x))
    assert not network._waiting
