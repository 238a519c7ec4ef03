"""One request is one guarded connection and one answer, or a failure that can be named."""

import asyncio
import datetime
import socket
import ssl
import subprocess
import sys
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.http_sink import HttpSink, Reply
from yarl import URL

from tocsin.outbound import ANSWER_BYTES_MAX, Answer, Failure, FailureKind, Outbound
from tocsin.outbound.client import _Destination

LOOPBACK = ("127.0.0.0/8",)


def ask(*script, path="/hook", url=None, timeout_s=5.0, serve_tls=None, **options):
    """Start a sink with this script, POST to it once; return (sink, what came back)."""

    async def run():
        options.setdefault("allow_private", LOOPBACK)
        outbound = Outbound(**options)
        try:
            async with HttpSink(*script, tls=serve_tls) as sink:
                target = sink.url(path) if url is None else url(sink)
                return sink, await outbound.post(
                    target, body=b"hello", headers={"Content-Type": "text/plain"}, timeout_s=timeout_s
                )
        finally:
            await outbound.close()

    return asyncio.run(run())


def names(**addresses):
    """A resolver for these names that counts how often it is asked."""

    async def lookup(host, port):
        lookup.asked.append(host)
        answers = addresses[host.replace(".", "_")]
        return answers.pop(0) if isinstance(answers[0], tuple) else answers

    lookup.asked = []
    return lookup


def test_a_post_arrives_whole_and_its_answer_comes_back():
    sink, answer = ask(Reply(status=202, headers={"Retry-After": "7", "Content-Type": "a/b"}, body=b"yes"))

    assert answer == Answer(status=202, retry_after="7", content_type="a/b", body=b"yes")
    (request,) = sink.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook", b"hello")
    assert request.headers["host"] == f"127.0.0.1:{sink.port}"
    assert request.headers["user-agent"] == "Tocsin"
    assert "accept-encoding" not in request.headers
    assert "cookie" not in request.headers


def test_a_get_is_made_under_the_same_guard():
    async def run():
        open_one, closed_one = Outbound(LOOPBACK), Outbound()
        async with HttpSink(Reply(body=b"x" * 100)) as sink:
            got = await open_one.get(sink.url("/keys"), headers={}, timeout_s=5, answer_bytes_max=10)
            refused = await closed_one.get(sink.url("/keys"), headers={}, timeout_s=5)
        await open_one.close()
        await closed_one.close()
        return sink, got, refused

    sink, got, refused = asyncio.run(run())

    assert got == Answer(status=200, body=b"x" * 10, truncated=True)
    assert refused.kind is FailureKind.FORBIDDEN
    assert [request.method for request in sink.requests] == ["GET"]


@pytest.mark.parametrize("status", [200, 202, 204, 400, 404, 410, 429, 500, 503])
def test_every_status_is_an_answer(status):
    _, answer = ask(Reply(status=status))

    assert answer == Answer(status=status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_metadata_is_not_followed(status):
    location = "http://169.254.169.254/latest/meta-data/"

    sink, answer = ask(Reply(status=status, headers={"Location": location}))

    assert (answer.status, answer.location) == (status, location)
    assert len(sink.requests) == 1


def test_a_redirect_to_ourselves_is_not_followed_either():
    sink, answer = ask(Reply(status=302, headers={"Location": "/again"}), Reply())

    assert answer.status == 302
    assert [request.path for request in sink.requests] == ["/hook"]


def test_a_receiver_that_hangs_costs_the_timeout_and_no_more():
    _, failure = ask(Reply(hang="before"), timeout_s=0.2)

    assert failure.kind is FailureKind.TIMEOUT
    assert "at most 0.2 s" in failure.why


def test_a_receiver_that_hangs_after_its_status_line_has_answered():
    _, answer = ask(Reply(status=200, headers={"Content-Length": "10"}, hang="after_headers"), timeout_s=0.2)

    assert answer == Answer(status=200, truncated=True)


def test_a_reset_before_the_answer_is_a_reset():
    sink, failure = ask(Reply(reset="before"))

    assert failure.kind is FailureKind.RESET
    assert len(sink.requests) == 1  # and nothing was sent twice


def test_a_reset_within_the_body_leaves_the_status_valid():
    _, answer = ask(Reply(status=500, body=b"0123456789", reset="body"))

    assert answer.status == 500
    assert answer.truncated


@pytest.mark.parametrize(("length", "truncated"), [(ANSWER_BYTES_MAX, False), (ANSWER_BYTES_MAX + 1, True)])
def test_a_body_is_kept_up_to_its_cap(length, truncated):
    _, answer = ask(Reply(body=b"a" * length))

    assert (len(answer.body), answer.truncated) == (ANSWER_BYTES_MAX, truncated)


def test_an_endless_body_is_left_after_its_cap():
    sink, answer = ask(Reply(endless=True), timeout_s=10)

    assert (len(answer.body), answer.truncated) == (ANSWER_BYTES_MAX, True)
    assert sink.bytes_sent < 50_000_000


def test_what_is_not_http_is_a_protocol_failure():
    _, failure = ask(Reply(raw=b"\x15\x03\x01\x00\x02\x02\x16 SSH-2.0-OpenSSH_9.9\r\n\r\n"))

    assert failure.kind is FailureKind.PROTOCOL


def test_a_compressed_body_is_not_unfolded():
    _, answer = ask(Reply(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b not really"))

    assert answer == Answer(status=200, body=b"\x1f\x8b not really")


def test_a_closed_port_is_a_failed_connection():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    _, failure = ask(url=lambda sink: f"http://127.0.0.1:{port}/")

    assert failure.kind is FailureKind.CONNECT


# Addresses


def test_a_private_address_is_refused_with_the_next_step_and_without_a_connection():
    sink, failure = ask(allow_private=())

    assert failure == Failure(kind=FailureKind.FORBIDDEN, why=failure.why)
    assert "127.0.0.1" in failure.why
    assert (
        "add its network to outgoing.allow_private in tocsin.yaml, or to TOCSIN_ALLOW_PRIVATE" in failure.why
    )
    assert sink.connections == 0


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0", "1.2.3.4.5"]
)
def test_a_number_that_some_parser_takes_for_an_address_is_no_host(host):
    sink, failure = ask(url=lambda sink: f"http://{host}:{sink.port}/")

    assert failure.kind is FailureKind.INVALID_URL
    assert sink.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1]",
    ],
)
def test_a_literal_address_is_checked_in_every_spelling(host):
    sink, failure = ask(url=lambda sink: f"http://{host}:{sink.port}/", allow_private=())

    assert failure.kind in (FailureKind.FORBIDDEN, FailureKind.INVALID_URL)
    assert sink.connections == 0


def test_a_name_that_the_system_resolves_to_loopback_is_refused():
    sink, failure = ask(url=lambda sink: sink.url(host="localhost"), allow_private=())

    assert failure.kind is FailureKind.FORBIDDEN
    assert failure.why.startswith("localhost leads to ")
    assert sink.connections == 0


def test_metadata_stays_closed_when_everything_is_opened():
    _, failure = ask(url=lambda sink: "http://169.254.169.254/", allow_private=("0.0.0.0/0", "::/0"))

    assert failure.kind is FailureKind.FORBIDDEN
    assert "No setting allows it" in failure.why


def test_one_private_address_among_public_ones_condemns_the_name():
    lookup = names(mixed_test=["1.1.1.1", "10.0.0.1"])

    _, failure = ask(url=lambda sink: "http://mixed.test/", allow_private=(), lookup=lookup)

    assert failure.kind is FailureKind.FORBIDDEN
    assert failure.why.startswith("mixed.test leads to 10.0.0.1")


def test_a_rebinding_name_is_resolved_once_and_connected_to_where_it_was_checked():
    # Public would be checked first and loopback connected to second, if there were a second look.
    lookup = names(rebind_test=[("127.0.0.2",), ("127.0.0.1",)])

    sink, failure = ask(
        url=lambda sink: sink.url(host="rebind.test"), allow_private=("127.0.0.2/32",), lookup=lookup
    )

    assert lookup.asked == ["rebind.test"]
    assert failure.kind is FailureKind.CONNECT  # nobody listens on 127.0.0.2
    assert sink.connections == 0


def test_a_name_that_turns_private_later_is_refused_then():
    lookup = names(rebind_test=[("127.0.0.1",), ("10.0.0.1",)])

    async def run():
        async with HttpSink() as sink:
            results = []
            for _ in range(2):
                outbound = Outbound(("127.0.0.1/32",), lookup=lookup)
                url = sink.url(host="rebind.test")
                results.append(await outbound.post(url, body=b"", headers={}, timeout_s=5))
                await outbound.close()
            return sink, results

    sink, (first, second) = asyncio.run(run())

    assert first == Answer(status=200)
    assert second.kind is FailureKind.FORBIDDEN
    assert len(sink.requests) == 1


def test_a_name_without_an_address_is_a_dns_failure():
    async def nowhere(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    _, failure = ask(url=lambda sink: "http://nowhere.test/s3cret", lookup=nowhere)

    assert failure == Failure(kind=FailureKind.DNS, why="The name nowhere.test could not be resolved.")


def test_a_name_server_that_hangs_costs_the_timeout():
    async def never(host, port):
        await asyncio.Event().wait()

    _, failure = ask(url=lambda sink: "http://slow.test/", lookup=never, timeout_s=0.2)

    assert failure.kind is FailureKind.TIMEOUT


def test_names_that_a_name_server_is_silent_about_delay_no_other(monkeypatch):
    speaks = threading.Event()

    def lookup(host):
        assert host == "well.test" or speaks.wait(30)
        return ("127.0.0.1",)

    async def run():
        outbound = Outbound(LOOPBACK)
        hanging = [asyncio.create_task(outbound.addresses(f"silent-{n}.test", 25)) for n in range(100)]
        async with HttpSink() as sink:
            answer = await outbound.post(sink.url(host="well.test"), body=b"", headers={}, timeout_s=20)
        assert not any(task.done() for task in hanging)
        speaks.set()
        await asyncio.gather(*hanging)
        await outbound.close()
        return answer

    monkeypatch.setattr("tocsin.outbound.client._addresses_by_system", lookup)

    assert asyncio.run(run()) == Answer(status=200)


def test_a_name_is_asked_for_once_at_a_time(monkeypatch):
    asked, speaks = [], threading.Event()

    def lookup(host):
        asked.append(host)
        assert speaks.wait(30)
        if len(asked) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ("127.0.0.1",)

    async def run():
        outbound = Outbound(LOOPBACK)
        waiting = [asyncio.create_task(outbound.addresses("mail.test", 25)) for _ in range(10)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # Whose asking it was makes no difference to the others.
        speaks.set()
        first = await asyncio.gather(*waiting, return_exceptions=True)
        return first, await outbound.addresses("mail.test", 25)

    monkeypatch.setattr("tocsin.outbound.client._addresses_by_system", lookup)
    first, again = asyncio.run(run())

    assert [type(one) for one in first] == [asyncio.CancelledError, *[socket.gaierror] * 9]
    assert again == ["127.0.0.1"]
    assert asked == ["mail.test"] * 2


def test_a_name_server_that_hangs_does_not_keep_the_process():
    program = """
import asyncio, threading
from tocsin.outbound import client
client._addresses_by_system = lambda host: threading.Event().wait()
async def run():
    out = client.Outbound()
    print((await out.post("http://silent.test/", body=b"", headers={}, timeout_s=0.1)).kind)
    await out.close()
asyncio.run(run())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert (ended.stdout, ended.stderr) == ("timeout\n", "")


def test_the_next_address_is_tried_when_the_first_is_dead():
    lookup = names(two_test=["127.0.0.2", "127.0.0.1"])

    sink, answer = ask(url=lambda sink: sink.url(host="two.test"), lookup=lookup)

    assert answer == Answer(status=200)
    assert sink.requests[0].headers["host"] == f"two.test:{sink.port}"


def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    _, answer = ask()

    assert answer == Answer(status=200)


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//host/", "", "http://", "http://[::1",
            "http://host:99999/", "http://host:0/", "http://[fe80::1%25eth0]/", "javascript:alert(1)"]
)  # fmt: skip
def test_only_readable_http_urls_are_used(url):
    sink, failure = ask(url=lambda sink: url)

    assert failure.kind is FailureKind.INVALID_URL
    assert sink.connections == 0


# TLS


def certificate_for(name, folder):
    """(server context, client context that trusts it) for a fresh self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2120, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


def test_tls_is_verified_against_the_host_name_although_the_address_was_chosen_by_us(tmp_path):
    server, client = certificate_for("hooks.test", tmp_path)
    seen = []
    server.sni_callback = lambda _socket, name, _context: seen.append(name)
    lookup = names(hooks_test=["127.0.0.1"], other_test=["127.0.0.1"])

    sink, answer = ask(
        url=lambda sink: sink.url(host="hooks.test"), serve_tls=server, lookup=lookup, tls=client
    )
    _, failure = ask(
        url=lambda sink: sink.url(host="other.test"), serve_tls=server, lookup=lookup, tls=client
    )

    assert answer == Answer(status=200)
    assert sink.requests[0].headers["host"] == f"hooks.test:{sink.port}"
    assert seen == ["hooks.test", "other.test"]
    assert failure.kind is FailureKind.TLS
    assert "other.test" in failure.why


def test_an_unknown_authority_is_a_tls_failure(tmp_path):
    server, _ = certificate_for("hooks.test", tmp_path)
    lookup = names(hooks_test=["127.0.0.1"])

    sink, failure = ask(url=lambda sink: sink.url(host="hooks.test"), serve_tls=server, lookup=lookup)

    assert failure.kind is FailureKind.TLS
    assert sink.requests == []


def test_garbage_instead_of_tls_is_a_tls_failure():
    async def run():
        async def garbage(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        outbound = Outbound(LOOPBACK)
        port = server.sockets[0].getsockname()[1]
        failure = await outbound.post(f"https://127.0.0.1:{port}/", body=b"", headers={}, timeout_s=5)
        await outbound.close()
        server.close()
        return failure

    assert asyncio.run(run()).kind is FailureKind.TLS


# Secrets and reuse


def test_no_failure_names_more_of_a_url_than_its_host():
    secret = "/workflows/s3cret?sig=s3cret"

    async def nowhere(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failures = [
        ask(Reply(hang="before"), path=secret, timeout_s=0.1)[1],
        ask(Reply(reset="before"), path=secret)[1],
        ask(Reply(raw=b"\0\r\n\r\n"), path=secret)[1],
        ask(path=secret, allow_private=())[1],
        ask(url=lambda sink: f"http://nowhere.test{secret}", lookup=nowhere)[1],
        ask(url=lambda sink: f"https://127.0.0.1:{sink.port}{secret}", timeout_s=0.1)[1],
        ask(url=lambda sink: f"http://127.0.0.1:1{secret}")[1],
        ask(url=lambda sink: f"ftp://s3cret{secret}")[1],
        ask(url=lambda sink: f"http://s3cret:s3cret@169.254.169.254{secret}")[1],
    ]

    assert all(isinstance(failure, Failure) for failure in failures)
    assert "s3cret" not in repr(failures)


def test_a_connection_is_reused_but_not_after_a_body_that_was_left():
    async def run():
        outbound = Outbound(LOOPBACK)
        script = Reply(body=b"ok"), Reply(status=204), Reply(body=b"x" * 200_000), Reply(), Reply()
        async with HttpSink(*script) as sink:
            seen = []
            for _ in script:
                await outbound.post(sink.url(), body=b"", headers={}, timeout_s=5)
                seen.append(sink.connections)
        await outbound.close()
        return seen

    assert asyncio.run(run()) == [1, 1, 1, 2, 2]


def test_hung_receivers_delay_no_other():
    async def run():
        outbound = Outbound(LOOPBACK, connections_per_host=150)
        async with HttpSink(Reply(hang="before")) as hung, HttpSink() as well:
            stuck = [
                asyncio.ensure_future(outbound.post(hung.url(), body=b"", headers={}, timeout_s=30))
                for _ in range(160)
            ]
            await asyncio.wait_for(hung.received(150), timeout=10)
            answer = await outbound.post(well.url(), body=b"", headers={}, timeout_s=5)
            connections = hung.connections
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
        await outbound.close()
        return answer, connections

    answer, connections = asyncio.run(run())

    assert answer == Answer(status=200)
    assert connections == 150  # and the ten others wait


def test_a_cookie_is_not_brought_back():
    async def run():
        outbound = Outbound(LOOPBACK, lookup=names(hooks_test=["127.0.0.1"]))
        async with HttpSink(Reply(headers={"Set-Cookie": "track=me"}), Reply()) as sink:
            for _ in range(2):
                await outbound.post(sink.url(host="hooks.test"), body=b"", headers={}, timeout_s=5)
        await outbound.close()
        return sink

    sink = asyncio.run(run())

    assert len(sink.requests) == 2
    assert "cookie" not in sink.requests[1].headers


def test_the_last_check_holds_by_itself_should_an_earlier_one_be_missed():
    async def run():
        outbound = Outbound()
        async with HttpSink() as sink:
            unchecked = _Destination(URL(sink.url()), "127.0.0.1")
            outbound._destinations[sink.url()] = unchecked
            failure = await outbound.post(sink.url(), body=b"", headers={}, timeout_s=5)
        await outbound.close()
        return sink, failure

    sink, failure = asyncio.run(run())

    assert sink.connections == 0
    assert failure.kind is FailureKind.FORBIDDEN
