"""Only requests under the server's own names and from its own pages come in."""

import pytest

from bids_hypo.errors import UsageError
from bids_hypo.gui.door import Door, allowed_place
from bids_hypo.gui.options import GuiOptions
from tests.gui.asgi import ask

HERE = "127.0.0.1:7860"


def _ask(options, host=HERE, path="/", headers=(), **more):
    return ask(lambda app: Door(app, options), path, headers=[("Host", host), *headers], **more)


@pytest.mark.parametrize(
    ("options", "host", "known"),
    [
        (GuiOptions(), "localhost:7860", True),
        (GuiOptions(), "LOCALHOST.", True),
        (GuiOptions(), "127.4.5.6:80", True),
        (GuiOptions(), "[::1]:7860", True),
        (GuiOptions(), "evil.example:7860", False),
        (GuiOptions(), "localhost.evil.example", False),
        (GuiOptions(), "127.0.0.1.evil.example", False),
        (GuiOptions(), "192.0.2.7:7860", False),  # on this computer only: nobody reaches it under another address
        (GuiOptions(), "2130706433", False),
        (GuiOptions(host="0.0.0.0"), "localhost:9000", True),  # docker run -p 127.0.0.1:9000:7860
        (GuiOptions(host="0.0.0.0"), "192.0.2.7:7860", True),  # no site can claim an IP address by its DNS
        (GuiOptions(host="0.0.0.0"), "[2001:db8::7]:7860", True),
        (GuiOptions(host="0.0.0.0"), "evil.example:7860", False),
        (GuiOptions(host="clinic"), "clinic:7860", True),
        (GuiOptions(host="clinic"), "other:7860", False),
        (GuiOptions(allow_hosts=("scans.example",)), "Scans.Example", True),
        (GuiOptions(allow_hosts=("scans.example:8443",)), "scans.example:8443", True),
        (GuiOptions(allow_hosts=("scans.example",)), "evil.example", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_hosts(options, host, known, kind):
    answer = _ask(options, host, kind=kind)
    assert answer.reached is known
    if not known and kind == "http":
        assert answer.status == 400 and f"--allow-host {host.partition(':')[0]}" in answer.body
    if not known and kind == "websocket":
        assert answer.messages == ["websocket.close"]  # before it was opened


@pytest.mark.parametrize("name", ["data", "auth"])
def test_neither_data_nor_a_password_opens_the_door_to_other_names(tmp_path, name):
    options = GuiOptions(data_root=tmp_path) if name == "data" else GuiOptions(auth=("clinic", "sesame"))
    same = [("Origin", "http://evil.example:7860")]
    assert _ask(options, "evil.example:7860", "/config", same).status == 400


@pytest.mark.parametrize("path", ["/", "/static/x.js", "/login", "/gradio_api/upload", "/gradio_api/queue/data"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_every_request_is_looked_at(path, method):
    assert not _ask(GuiOptions(), "evil.example", path, method=method).reached


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["me@localhost"], ["localhost/x"], ["a b"]])
def test_a_host_has_to_be_one_and_a_name(hosts):
    answer = ask(lambda app: Door(app, GuiOptions()), headers=[("Host", host) for host in hosts])
    assert (answer.reached, answer.status) == (False, 400) and "evil" not in answer.body


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),  # a program
        ({"Origin": f"http://{HERE}"}, True),
        ({"Origin": f"http://{HERE}", "Referer": f"http://{HERE}/", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://127.0.0.1:8888"}, False),  # another program on this computer
        ({"Origin": "http://localhost:7860"}, False),  # not where it was sent to
        ({"Origin": f"http://{HERE}.evil.example"}, False),
        ({"Origin": f"http://{HERE}@evil.example"}, False),
        ({"Origin": "http://127.0.0.1:99999"}, False),
        ({"Referer": f"http://{HERE}/?tab=2"}, True),
        ({"Referer": "http://evil.example/"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
@pytest.mark.parametrize("kind", ["POST", "websocket"])
def test_what_other_sites_send_is_refused(headers, ours, kind):
    how = {"kind": kind} if kind == "websocket" else {"method": kind}
    answer = _ask(GuiOptions(), path="/gradio_api/upload", headers=headers.items(), **how)
    assert answer.reached is ours
    assert kind == "websocket" or answer.status == (200 if ours else 403)


@pytest.mark.parametrize(
    ("allowed", "host", "origin", "ours"),
    [
        ("scans.example", "scans.example", "https://scans.example", True),  # the proxy passes the name on
        ("scans.example", HERE, "https://scans.example", True),  # it does not
        ("scans.example", HERE, "https://scans.example:8443", False),
        ("scans.example:8443", "scans.example", "https://scans.example:8443", True),
        ("scans.example", "scans.example", "https://evil.example", False),
        ("scans.example", "scans.example:8080", "http://scans.example:8080", True),
    ],
)
def test_behind_a_proxy(allowed, host, origin, ours):
    options = GuiOptions(allow_hosts=(allowed,))
    assert _ask(options, host, method="POST", headers=[("Origin", origin)]).reached is ours


def test_results_are_not_read_by_other_sites_but_links_to_the_page_work():
    site = [("Sec-Fetch-Site", "cross-site")]
    visit = [*site, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    frame = [*site, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]
    assert _ask(GuiOptions(), headers=visit).reached
    assert not _ask(GuiOptions(), headers=frame).reached
    assert not _ask(GuiOptions(), path="/logout", headers=visit).reached
    assert not _ask(GuiOptions(), path="/gradio_api/file=/x", headers=site).reached
    assert not _ask(GuiOptions(), path="/config", headers=[("Origin", "http://evil.example")]).reached
    for host in (HERE, "evil.example"):
        assert _ask(GuiOptions(), host).headers["cross-origin-resource-policy"] == "same-origin"


def test_the_log_tells_each_kind_once_in_one_line(caplog):
    door = Door(None, GuiOptions())
    for number in range(300):
        origin = f"http://evil\nWARNING {number % 150}".encode()
        door.refusal({"type": "http", "method": "POST", "path": "/", "headers": [
            (b"host", HERE.encode()), (b"origin", origin)]})  # fmt: skip
    assert len(caplog.messages) == 100 and not any("\n" in message for message in caplog.messages)


@pytest.mark.parametrize("given", ["", "http://scans.example", "scans.example/path", "a b", "*", "x:y", "\ud800"])
def test_names_that_are_none(given):
    with pytest.raises(UsageError, match="--allow-host"):
        allowed_place(given)


def test_names_in_other_alphabets_are_what_a_browser_sends():
    assert allowed_place("müller.example:8443") == ("xn--mller-kva.example", 8443)
