"""Passwords cannot be found by trying, and trying locks nobody else out."""

import pytest

from bids_hypo.gui.door import client
from bids_hypo.gui.login import FORGET_S, Login, network_of

pytestmark = pytest.mark.usefixtures("gradio")


class _Desk:
    """A login with a clock of its own; says True, False or the seconds to wait."""

    def __init__(self):
        self.now = 0.0
        self.login = Login("clinic", "sesame", clock=lambda: self.now)

    def try_in(self, address, password="wrong", user="clinic"):
        from fastapi import HTTPException

        client.set(address)
        try:
            return self.login.check(user, password)
        except HTTPException as error:
            return int(error.headers["Retry-After"]) if error.status_code == 429 else error


@pytest.fixture
def desk():
    return _Desk()


def test_right_and_wrong(desk):
    assert desk.try_in("192.0.2.1", "sesame") is True
    assert desk.try_in("192.0.2.1", "sesamé") is False
    assert desk.try_in("192.0.2.1", "sesame", user="Clinic") is False
    assert desk.try_in("192.0.2.1", "", user="") is False


def test_waits_grow_and_have_an_end(desk):
    assert [desk.try_in("192.0.2.1") for _ in range(6)] == [False] * 5 + [2]
    assert desk.try_in("192.0.2.1", "sesame") == 2  # the right one tells nothing before its time
    tried = 0
    for desk.now in range(3600):
        tried += desk.try_in("192.0.2.1") is False
    assert 55 <= tried <= 75  # one a minute
    desk.now += 61
    assert desk.try_in("192.0.2.1", "sesame") is True
    assert desk.try_in("192.0.2.1") is False  # all is forgiven


def test_old_failures_are_forgotten(desk):
    for _ in range(5):
        desk.try_in("192.0.2.1")
    desk.now += FORGET_S + 1
    assert [desk.try_in("192.0.2.1") for _ in range(5)] == [False] * 5


def test_one_who_tries_locks_nobody_else_out(desk):
    for _ in range(1000):
        desk.try_in("192.0.2.1")
    assert desk.try_in("192.0.2.2", "sesame") is True


def test_many_addresses_do_not_get_far_either(desk):
    assert desk.try_in("203.0.113.9", "sesame") is True
    tried = 0
    for number in range(6000):
        desk.now = number / 50  # 50 a second, for two minutes
        tried += desk.try_in(f"10.{number % 250}.{number // 250}.1") is False
        if number % 50 == 25:
            assert desk.try_in("203.0.113.9", "sesame") is True  # has been here before
    assert tried < 50 + 120
    desk.now += 2.1
    assert desk.try_in("203.0.113.10", "sesame") is True  # a newcomer, two seconds after the last


def test_what_is_remembered_has_a_bound(desk, monkeypatch):
    monkeypatch.setattr("bids_hypo.gui.login._KEPT", 10)
    for number in range(40):
        desk.try_in(f"10.0.0.{number}")
    assert len(desk.login._of) == 10


def test_failures_are_logged_in_one_line_without_the_password(desk, caplog):
    desk.try_in("192.0.2.1", "hunter2", user="x\nWARNING: all is well" + "y" * 500)
    assert len(caplog.messages) == 1
    assert "192.0.2.1" in caplog.text and r"x\nWARNING" in caplog.text and "hunter2" not in caplog.text
    assert "\n" not in caplog.messages[0] and len(caplog.messages[0]) < 200
    for _ in range(50):
        desk.try_in("192.0.2.1")
    assert len(caplog.messages) == 6  # five failures; the refusals once


def test_addresses_of_one_client():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1" == network_of("192.0.2.1")
    assert network_of("fe80::1%eth0") == "fe80::/64" and network_of("") == ""
