"""The pods' server: what it answers, whom it sees, and that no client can hold it up."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from podwire.kernel.namespaces import Namespace
from podwire.sandbox import server

PORT = 8080


@pytest.fixture
def served(namespace: Namespace) -> Iterator[int]:
    """A server in the test's own namespace; the process id."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    listener, datagrams = server.listen(PORT), server.listen(PORT, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        try:
            server.Server("web-1", "node-1", listener, datagrams).serve()
        finally:
            os._exit(1)
    listener.close()
    datagrams.close()
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def exchange(request: bytes, host: str = "127.0.0.1") -> bytes:
    """Everything that the server answers."""
    with socket.create_connection((host, PORT), 5) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def body(answer: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_get_names_pod_node_and_client(served: int) -> None:
    answer = exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(content)}".encode() in head
    assert b"Connection: close" in head
    assert body(answer) == {"pod": "web-1", "node": "node-1", "client": "127.0.0.1"}


@pytest.mark.parametrize(("host", "client"), [("::1", "::1"), ("192.0.2.1", "192.0.2.1"), ("127.0.0.1", "127.0.0.1")])
def test_clients_of_both_families_see_their_own_address(served: int, host: str, client: str) -> None:
    assert body(exchange(b"GET / HTTP/1.0\r\n\r\n", host))["client"] == client


def test_curl_understands_it(served: int) -> None:
    command = ["curl", "-sS", "--max-time", "5", "http://127.0.0.1:8080/"]
    assert json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["pod"] == "web-1"


def test_head_has_no_body(served: int) -> None:
    head, _, content = exchange(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert content == b""
    assert head == exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"PUT / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000, 405),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, 431),
    ],
)
def test_what_is_no_request_gets_its_error(served: int, request_: bytes, status: int) -> None:
    assert exchange(request_).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_in_pieces_is_put_together(served: int) -> None:
    with socket.create_connection(("127.0.0.1", PORT), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b"GE", b"T / HTTP/1.1\r\n", b"\r", b"\n"):
            connection.sendall(part)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_silent_clients_hold_up_nobody(served: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", PORT), 5) for _ in range(server._MOST_CLIENTS + 50)]
    try:
        assert exchange(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b""  # the oldest had to go
    finally:
        for connection in silent:
            connection.close()


def test_a_slow_client_is_dropped_when_its_time_is_up(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    monkeypatch.setattr(server, "_PATIENCE", 0.05)
    with server.listen(PORT) as listener, socket.create_connection(("127.0.0.1", PORT), 5) as client:
        running = server.Server("web-1", "node-1", listener)
        client.sendall(b"GET / HT")
        while not running._clients:
            running.step(5)
        running.step(1)  # nothing happens but that the time is up
        client.settimeout(1)
        assert client.recv(1) == b""
        for ear in running._ears.values():
            ear.close()
        running._poll.close()


def test_a_client_that_resets_does_no_harm(served: int) -> None:
    for request in (b"", b"GET / HTTP/1.0\r\n\r\n"):
        connection = socket.create_connection(("127.0.0.1", PORT), 5)
        connection.sendall(request)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert exchange(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_it_listens_before_there_are_addresses(namespace: Namespace) -> None:
    with server.listen(PORT):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        socket.create_connection(("127.0.0.1", PORT), 5).close()
        socket.create_connection(("::1", PORT), 5).close()


def ping(version: int, nonce: bytes) -> None:
    """Send one echo request with a nonce to this host, from an address to be seen."""
    if version == 4:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
            sender.bind(("192.0.2.1", 0))
            packet = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"podwire" + nonce + b"\0"
            total = sum(struct.unpack("!12H", packet))
            total = (total & 0xFFFF) + (total >> 16)
            checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            sender.sendto(packet[:2] + struct.pack("!H", checksum) + packet[4:], ("127.0.0.1", 0))
    else:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
            sender.sendto(struct.pack("!BBHHH", 128, 0, 0, 1, 1) + b"podwire" + nonce, ("::1", 0))


@pytest.mark.parametrize(("version", "source"), [(4, "192.0.2.1"), (6, "::1")])
def test_it_tells_whom_an_echo_request_came_from(served: int, version: int, source: str) -> None:
    nonce = os.urandom(8)
    exchange(b"GET / HTTP/1.0\r\n\r\n")  # it hears only once it is up
    ping(version, nonce)
    assert body(exchange(b"GET /?nonce=%s HTTP/1.0\r\n\r\n" % nonce.hex().encode()))["icmp"] == source


@pytest.mark.parametrize("query", [b"nonce=0011223344556677", b"a=b&nonce=0011223344556677"])
def test_a_nonce_that_nobody_sent_is_null(served: int, query: bytes) -> None:
    assert body(exchange(b"GET /?%s HTTP/1.0\r\n\r\n" % query))["icmp"] is None


@pytest.mark.parametrize("query", [b"", b"nonce=", b"nonce=zz11223344556677", b"nonce=00"])
def test_what_is_no_nonce_is_left_out(served: int, query: bytes) -> None:
    assert "icmp" not in body(exchange(b"GET /?%s HTTP/1.0\r\n\r\n" % query))


def test_all_of_a_burst_are_served(served: int) -> None:
    def connect() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", PORT), 5)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection

    connections = [connect() for _ in range(300)]
    for connection in connections:
        with connection:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_body_is_swallowed_whole_before_the_answer(served: int) -> None:
    with socket.create_connection(("127.0.0.1", PORT), 5) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nContent-Length: 200000\r\n\r\n" + bytes(199_999))
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        connection.sendall(b"x")
        assert body(b"".join(iter(lambda: connection.recv(65536), b"")))["client"] == "127.0.0.1"


@pytest.mark.parametrize(("host", "family"), [("::1", socket.AF_INET6), ("192.0.2.1", socket.AF_INET)])
def test_datagrams_are_answered_from_the_address_that_was_asked(
    served: int, host: str, family: socket.AddressFamily
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((host, PORT))  # answers from elsewhere would not arrive
        client.send(b"anything")
        assert json.loads(client.recv(1000)) == {"pod": "web-1", "node": "node-1", "client": host}
        client.send(b"podwire" + bytes(8))
        assert client.recv(1000) == b"podwire" + bytes(8) + f"web-1 {host} -".encode()
