"""The table of answers: each row whole, in pieces, with more behind it, and on the wire."""

import importlib.util
import random
import sys
import time
import unittest
from collections.abc import Iterator
from typing import Any, Optional

import server
from tests.support import GET, ROOT, Server, parse

PAGE, PICTURE = (ROOT / "index.html").read_bytes(), (ROOT / "test.jpg").read_bytes()
CHROME = b"""Host: 127.0.0.1:8000
Connection: keep-alive
sec-ch-ua: "Chromium";v="156", "Not(A:Brand";v="24"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
Cookie: a=b; c="d"
""".replace(b"\n", b"\r\n")


def fields(*lines: bytes) -> bytes:
    """Return a GET of the page over HTTP/1.1 with these field lines behind Host."""
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def host(value: bytes) -> bytes:
    """Return a GET of the page with this Host."""
    return b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n"


def line(start: bytes) -> bytes:
    """Return a request with this start line."""
    return start + b"\r\nHost: x\r\n\r\n"


# section, request, status, why
ROWS: list[tuple[str, bytes, int, str]] = [
    ("DESIGN 3", line(b"GET / HTTP/1.1"), 200, "the page"),
    ("DESIGN 3", line(b"GET /index.html HTTP/1.1"), 200, "the page by its name"),
    ("DESIGN 3", line(b"GET /test.jpg HTTP/1.1"), 200, "the picture"),
    ("DESIGN 3", b"GET / HTTP/1.1\r\n" + CHROME + b"\r\n", 200, "a browser's head"),
    ("9110 9.3.2", line(b"HEAD / HTTP/1.1"), 200, "HEAD of the page"),
    ("9110 9.3.2", line(b"HEAD /test.jpg HTTP/1.1"), 200, "HEAD of the picture"),
    ("9110 9.3.2", line(b"HEAD /none HTTP/1.1"), 404, "HEAD of nothing"),
    ("9112 3.2.1", line(b"GET /?x=1 HTTP/1.1"), 200, "a query is ignored"),
    ("9112 3.2.1", line(b"GET /test.jpg?a/b?c=[{|}] HTTP/1.1"), 200, "as browsers send one"),
    ("9112 3.2.1", line(b"GET /? HTTP/1.1"), 200, "an empty query"),
    ("9112 3.2.2", line(b"GET http://a/test.jpg HTTP/1.1"), 200, "absolute-form"),
    ("9112 3.2.2", line(b"GET HTTP://a:80/?x HTTP/1.1"), 200, "scheme in capitals, port, query"),
    ("9112 3.2.2", line(b"GET http://a HTTP/1.1"), 200, "absolute-form without a path"),
    ("9112 3.2.2", line(b"GET http://a?x HTTP/1.1"), 200, "absolute-form with a query only"),
    ("9112 3.2.2", line(b"GET http://[::1]:8000/test.jpg HTTP/1.1"), 200, "IPv6 in it"),
    ("9112 3.2.2", line(b"GET http://a/none HTTP/1.1"), 404, "no such path in it"),
    ("9110 4.2.1", line(b"GET http:///test.jpg HTTP/1.1"), 400, "http with an empty host"),
    ("9110 4.2.1", line(b"GET http:// HTTP/1.1"), 400, "http with nothing"),
    ("9110 4.2.1", line(b"GET http://:80/ HTTP/1.1"), 400, "http with a port only"),
    ("9110 4.2.4", line(b"GET http://user@a/ HTTP/1.1"), 400, "userinfo"),
    ("9112 3.2.2", line(b"GET http://a:b/ HTTP/1.1"), 400, "a port of letters"),
    ("9110 7.4", line(b"GET https://a/ HTTP/1.1"), 400, "https over an open connection"),
    ("DESIGN 3", line(b"GET /none HTTP/1.1"), 404, "no such path"),
    ("DESIGN 3", line(b"GET /../etc/passwd HTTP/1.1"), 404, "nothing is looked up"),
    ("DESIGN 3", line(b"GET /server.py HTTP/1.1"), 404, "though the file is there"),
    ("DESIGN 3", line(b"GET //test.jpg HTTP/1.1"), 404, "another path"),
    ("DESIGN 3", line(b"GET /TEST.JPG HTTP/1.1"), 404, "paths are case-sensitive"),
    ("DESIGN 3", line(b"GET /%2e%2e/ HTTP/1.1"), 404, "a coded path"),
    *[
        ("9110 15.5.6", line(method + b" / HTTP/1.1"), 405, "a method for others")
        for method in b"POST PUT DELETE PATCH OPTIONS TRACE CONNECT".split()
    ],
    ("9112 3.2.4", line(b"OPTIONS * HTTP/1.1"), 405, "asterisk-form"),
    ("9112 3.2.3", line(b"CONNECT a:80 HTTP/1.1"), 405, "authority-form"),
    ("9112 3.2.3", line(b"CONNECT [::1]:80 HTTP/1.1"), 405, "authority-form with IPv6"),
    ("9112 3.2.3", line(b"CONNECT a HTTP/1.1"), 400, "authority-form has a port"),
    ("9110 9.3.6", line(b"CONNECT a: HTTP/1.1"), 400, "which is not empty"),
    ("9112 3.2.4", line(b"GET * HTTP/1.1"), 400, "asterisk-form is for OPTIONS"),
    ("9110 9.1", line(b"XOPTIONS * HTTP/1.1"), 501, "a method not known"),
    ("9112 3.2.4", line(b"OPTIONS a:80 HTTP/1.1"), 400, "authority-form is for CONNECT"),
    ("9112 3.2.4", line(b"XOPTIONS* HTTP/1.1"), 400, "asterisk-form needs its blank"),
    ("9112 3.2.3", line(b"GET a:80 HTTP/1.1"), 400, "authority-form is for CONNECT"),
    ("9110 9.1", line(b"get / HTTP/1.1"), 501, "methods are case-sensitive"),
    ("9110 9.1", line(b"BREW / HTTP/1.1"), 501, "a method not known"),
    ("9110 9.1", line(b"!#$%&'*+-.^_`|~09AZaz / HTTP/1.1"), 501, "all of tchar"),
    ("9110 15.6.6", b"GET / HTTP/2.0\r\n\r\n", 505, "a version not known"),
    ("9110 15.6.6", b"GET / HTTP/0.9\r\n\r\n", 505, "an old version"),
    ("9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "how HTTP/2 begins"),
    ("9110 2.5", line(b"GET / HTTP/1.9"), 200, "any minor version"),
    ("9110 2.5", b"GET / HTTP/1.0\r\n\r\n", 200, "HTTP/1.0 needs no Host"),
    *[
        ("9112 2.3", line(b"GET / " + version), 400, "not an HTTP-version")
        for version in b"HTTP/1 HTTP/11 HTTP/1.10 HTTP/1. http/1.1 HTTPS/1.1 HTTP/1.x 1.1 HTTP/a.1".split()
    ],
    ("9112 3", b"GET /\r\n\r\n", 400, "no version"),
    ("9112 3", b"GET\r\n\r\n", 400, "a method alone"),
    ("9112 3", b"GET / \r\n\r\n", 400, "a blank for a version"),
    ("9112 3", line(b"GET  / HTTP/1.1"), 400, "a doubled blank"),
    ("9112 3", line(b"GET /  HTTP/1.1"), 400, "another"),
    ("9112 3", line(b" GET / HTTP/1.1"), 400, "a leading blank"),
    ("9112 3", line(b"GET / HTTP/1.1 "), 400, "a trailing blank"),
    ("9112 3", line(b"GET\t/ HTTP/1.1"), 400, "a tab"),
    ("9112 3", line(b"GET /\x00 HTTP/1.1"), 400, "NUL in the target"),
    ("9112 3", line(b"GET /\x7f HTTP/1.1"), 400, "DEL in the target"),
    ("9112 3", line(b"GET /\xe4 HTTP/1.1"), 400, "not ASCII in the target"),
    ("9112 3", line(b"GET /?\xe4 HTTP/1.1"), 400, "nor in the query"),
    ("9112 3", line(b"G\xe4T / HTTP/1.1"), 400, "nor in the method"),
    ("9112 3", line(b"G(T / HTTP/1.1"), 400, "a delimiter in the method"),
    ("9112 3.2", line(b"GET /#a HTTP/1.1"), 400, "a fragment"),
    ("9112 3.2", line(b"GET /?a#b HTTP/1.1"), 400, "a fragment behind a query"),
    ("9112 3.2", line(b"GET test.jpg HTTP/1.1"), 400, "a relative path"),
    ("9112 3.2", line(b"GET ?x HTTP/1.1"), 400, "a query alone"),
    ("3986 2.1", line(b"GET /%zz HTTP/1.1"), 400, "a bad percent-encoding"),
    ("3986 2.1", line(b"GET /%2 HTTP/1.1"), 400, "half of one"),
    ("3986 3.3", line(b"GET /<a> HTTP/1.1"), 400, "no character of a path"),
    ("3986 3.3", line(b'GET /"a" HTTP/1.1'), 400, "nor this"),
    ("9112 3", line(b"GET / HTTP/1.1\r"), 400, "a bare CR"),
    ("9112 3", b"\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "a bare CR before"),
    ("9112 3", line(b"GET /" + b"a" * 7986 + b" HTTP/1.1"), 404, "8000 bytes fit"),
    ("9112 3", line(b"GET /" + b"a" * 8178 + b" HTTP/1.1"), 404, "8192 just fit"),
    ("9112 3", line(b"GET /" + b"a" * 8179 + b" HTTP/1.1"), 414, "8193 do not"),
    ("9112 3", b"GET /" + b"a" * 9000, 414, "and its end isn't waited for"),
    ("6585 5", fields(b"A: " + b"a" * 65504), 200, "64 KiB just fit"),
    ("6585 5", fields(b"A: " + b"a" * 65505), 431, "one byte more does not"),
    ("6585 5", b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 12000, 431, "its end isn't waited for"),
    ("9112 2.2", b"GET / HTTP/1.1\nHost: x\n\n", 200, "LF alone"),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: x\n\r\n", 200, "a mixture"),
    ("9112 2.2", b"GET / HTTP/1.1\nHost: x\r\n\n", 200, "the other"),
    ("9112 2.2", b"\r\n\n\r\n" + fields(), 200, "empty lines before"),
    ("9112 2.2", b"\r\n " + fields(), 400, "a line that isn't empty before"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "a TLS hello, at once"),
    ("DESIGN 3", b"\x00", 400, "no first byte of a request, at once"),
    ("DESIGN 3", b"\r\n(", 400, "nor this"),
    ("DESIGN 3", b"\x16" * 9000, 400, "nor a lot of it"),
    ("9112 3.2", b"GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
    ("9112 3.2", b"GET / HTTP/1.2\r\nA: b\r\n\r\n", 400, "no Host in a later minor version"),
    ("9112 3.2", fields(b"Host: x"), 400, "Host twice"),
    ("9112 3.2", b"GET / HTTP/1.0\r\nHost: x\r\nhOST: y\r\n\r\n", 400, "twice in HTTP/1.0"),
    ("9112 3.2", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "none beside absolute-form"),
    *[
        ("9110 7.2", host(value), 200, "a Host")
        for value in (b" a", b"a", b"\ta \t", b" a:80", b" a:", b" ", b"", b" [::1]:8000", b" 1.2.3.4")
    ],
    ("9110 7.2", host(b" a-b.c_d~e%2f!$&'()*+,;=:1"), 200, "all of reg-name"),
    ("9110 7.2", b"GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", 200, "names are case-insensitive"),
    *[
        ("9110 7.2", host(value), 400, "not a Host")
        for value in (b" a b", b" a/", b" a:b", b" u@a", b" a:1:2", b" [::1", b" [g]", b" a%2", b' "a"')
    ],
    ("9110 7.2", host(b" a\xe4"), 400, "not ASCII in Host"),
    ("9110 7.2", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400, "not a Host in HTTP/1.0"),
    ("9110 7.2", host(b" [fe80::1.2.3.4]:80"), 200, "an IPv6 address"),
    ("9110 7.2", host(b" [1]"), 400, "none without a colon"),
    ("9110 7.2", host(b" [1.2.3.4]"), 400, "no IPv4 address in brackets"),
    ("9110 7.2", host(b" " + b"a" * 9000), 200, "a long name"),
    ("9112 5", fields(b"A"), 400, "a field line without a colon"),
    ("9112 5.1", fields(b": a"), 400, "an empty field name"),
    ("9112 5.1", fields(b"A : a"), 400, "a blank before the colon"),
    ("9112 5.1", fields(b"A\t: a"), 400, "a tab before the colon"),
    ("9112 5.1", fields(b"Host : a"), 400, "not to be taken for a Host"),
    ("9110 5.1", fields(b"A(b): a"), 400, "a field name that is no token"),
    ("9110 5.1", fields(b"\xc4: a"), 400, "nor is this"),
    ("9112 5.2", fields(b"A: a", b" b"), 400, "a folded line"),
    ("9112 5.2", fields(b"A: a", b"\tb"), 400, "folded by a tab"),
    ("9112 5.2", b"GET / HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n", 400, "folded at the first"),
    *[
        ("9110 5.5", fields(b"A: a" + bytes([byte]) + b"b"), 400, "a control byte in a value")
        for byte in (0, 1, 8, 11, 12, 13, 14, 31, 127)
    ],
    ("9110 5.5", fields(b"A: a\r"), 400, "a bare CR at a value's end"),
    ("9110 5.5", fields(b"A:", b"B:a\t \x80\xff~!", b"Hos: t", b"Hosts: a", b"Host-: b"), 200, "all"),
    ("9110 8.6", fields(b"Content-Length: 0"), 200, "no content"),
    ("9110 8.6", fields(b"Content-Length: 5", b"content-length:5 "), 200, "the same length twice"),
    ("9110 8.6", fields(b"Content-Length: 5", b"Content-Length: 6"), 400, "two lengths"),
    *[
        ("9110 8.6", fields(b"Content-Length:" + value), 400, "not a length")
        for value in (b"", b" a", b" -1", b" +1", b" 1.0", b" 0x1", b" 1 2", b" 5, 6", b" \xb2")
    ],
    ("9112 6.1", fields(b"Transfer-Encoding: chunked"), 200, "chunked"),
    ("9112 6.1", fields(b"TRANSFER-encoding: GZIP , Chunked"), 200, "as any case, in a list"),
    ("9112 6.1", fields(b"Transfer-Encoding: x-gzip", b"Transfer-Encoding: chunked"), 200, "lines"),
    ("9112 7", fields(b"Transfer-Encoding: gzip,compress,deflate,x-gzip,x-compress,chunked"), 200, "all"),
    ("9112 6.3", fields(b"Transfer-Encoding: gzip"), 400, "chunked isn't last"),
    ("9112 6.3", fields(b"Transfer-Encoding: chunked, gzip"), 400, "nor here"),
    ("9112 6.3", fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"), 400, "nor here"),
    ("9112 7.1", fields(b"Transfer-Encoding: chunked, chunked"), 400, "chunked twice"),
    ("9112 6.3", fields(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, "and a length"),
    ("9112 6.1", b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "in HTTP/1.0"),
    ("9110 5.6.1", fields(b"Transfer-Encoding: gzip,, chunked,"), 200, "empty elements"),
    ("9112 6.3", fields(b"Transfer-Encoding:"), 400, "no coding, so chunked isn't last"),
    ("9112 6.3", fields(b"Transfer-Encoding: ,"), 400, "nor here"),
    ("9112 6.3", fields(b"Transfer-Encoding:", b"Content-Length: 5"), 400, "and a length"),
    ("9112 6.1", b"GET / HTTP/1.0\r\nTransfer-Encoding:\r\n\r\n", 400, "in HTTP/1.0"),
    ("9110 5.6.1", fields(b"Transfer-Encoding: gzip chunked"), 501, "no list without a comma"),
    ("9112 6.1", fields(b"Transfer-Encoding: brew"), 501, "a coding not known"),
    ("9112 6.1", fields(b"Transfer-Encoding: brew, chunked"), 501, "nor here"),
    ("9112 6.1", fields(b"Transfer-Encoding: identity"), 501, "one of the past"),
    ("9112 6.1", fields(b"Transfer-Encoding: xchunked"), 501, "nearly chunked"),
    ("9112 6.1", line(b"POST / HTTP/1.1").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"), 405, "a body"),
]  # fmt: skip


class Pieces:
    """A client whose recv gives these pieces, each after a wait, and then the end of file."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.script = [part for piece in pieces for part in (b"", piece)]

    def recv(self, size: int) -> bytes:
        """Return the next piece, or raise BlockingIOError where a wait is due."""
        if not self.script:
            return b""
        if not self.script[0]:
            self.script.pop(0)
            raise BlockingIOError
        piece, self.script[0] = self.script[0][:size], self.script[0][size:]
        if not self.script[0]:
            self.script.pop(0)
        return piece


class Patient:
    """A Patience that runs out after so many waits."""

    def __init__(self, waits: float = float("inf")) -> None:
        self.waits = waits

    def wait(self, client: Pieces) -> bool:
        """Return at once."""
        self.waits -= 1
        return self.waits >= 0


def status_of(*pieces: bytes) -> Optional[int]:
    """Return the status of the answer to a request that comes in these pieces, or None."""
    client = Pieces([piece for piece in pieces if piece])
    _, answered = server.read_head(client, Patient())  # type: ignore[arg-type]
    return int(answered[0][9:12]) if answered else None


def reply_to(request: bytes) -> bytes:
    """Return the response, as it is before its Date, to a request that comes as a whole."""
    answered = server.answer(request, 0)
    assert answered
    return answered[0]


class TableOfAnswers(unittest.TestCase):
    """Each row as what decides sees it."""

    def each(self) -> Iterator[tuple[bytes, int]]:
        """Yield request and status of each row, as a subtest that says its section and why."""
        for section, request, status, why in ROWS:
            with self.subTest(f"{section}: {why}", request=request[:80], size=len(request)):
                yield request, status

    def test_whole(self) -> None:
        for request, status in self.each():
            self.assertEqual(status_of(request), status)

    def test_cut_in_two_at_each_byte(self) -> None:
        for request, status in self.each():
            step = 1 if len(request) < 1000 else len(request) // 50
            for cut in range(1, len(request), step):
                self.assertEqual(status_of(request[:cut], request[cut:]), status, cut)

    def test_byte_by_byte(self) -> None:
        for request, status in self.each():
            if len(request) < 1000:
                pieces = [request[i : i + 1] for i in range(len(request))]
                self.assertEqual(status_of(*pieces), status)

    def test_followed_by_more(self) -> None:
        for request, status in self.each():
            for more in (b"\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100, b"x" * 70000):
                if len(request) + len(more) < 65536 or request.endswith(b"\r\n\r\n"):
                    self.assertEqual(status_of(request + more), status, more[:20])

    def test_unfinished_heads_are_waited_for(self) -> None:
        head = b"\r\n\nGET /test.jpg?x HTTP/1.1\r\n" + CHROME + b"\r\n"
        wrong = b"GET / HTTP/9\nHost: x\nHost: y\n bad\n\n"  # wrong, but not yet at its end
        for request in (head, head.replace(b"\r", b""), wrong):
            for end in range(len(request)):
                self.assertIsNone(server.answer(request[:end], 0), request[:end])
            self.assertIsNotNone(server.answer(request, 0))

    def test_a_client_that_is_never_waited_for_is_timed_all_the_same(self) -> None:
        client = Pieces([])
        client.script = [b"G"] * 100  # a byte is always there
        received, answered = server.read_head(client, Patient(9))  # type: ignore[arg-type]
        assert answered
        self.assertEqual((received, answered[0][9:12]), (b"G" * 10, b"408"))

    def test_what_is_buffered_is_bounded(self) -> None:
        for request in (
            GET[:-2] + b"a:b\r\n" * 20000,
            GET + b"x" * 100_000,
            GET[:9] + b"\n" * 99999,
        ):
            for size in (1000, 65535, 100_000):
                parts = [request[i : i + size] for i in range(0, len(request), size)]
                received, _ = server.read_head(Pieces(parts), Patient())  # type: ignore[arg-type]
                self.assertLessEqual(len(received), 65537)

    def test_end_of_file_and_end_of_time_in_mid_head(self) -> None:
        for begun in (b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\nGET"):
            self.assertEqual(status_of(begun), 400)
            late = server.answer(begun, 408)
            assert late
            self.assertEqual((late[0][9:12], late[3]), (b"408", True))
        for nothing in (b"", b"\r\n", b"\n", b"\r"):
            self.assertIsNone(status_of(nothing))
            self.assertIsNone(server.answer(nothing, 408))

    def test_whether_more_may_come(self) -> None:
        for request, more in (
            (fields(), False),
            (b"GET / HTTP/1.1\r\n" + CHROME + b"\r\n", False),
            (line(b"GET /none HTTP/1.1"), False),
            (line(b"DELETE / HTTP/1.1"), False),
            (b"GET / HTTP/1.0\r\n\r\n", False),
            (fields() + b"x", True),
            (fields(b"Content-Length: 3"), True),
            (fields(b"Transfer-Encoding: chunked"), True),
            (b"GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", True),
            (b"GET\r\n\r\n", True),
        ):
            with self.subTest(request=request[:80]):
                answered = server.answer(request, 0)
                assert answered
                self.assertEqual(answered[3], more)

    def test_other_fields_change_no_answer(self) -> None:
        for request, _ in self.each():
            before, blank, after = request.rpartition(b"\n\r\n")
            if blank and len(request) < 10000:
                for size in (1, 10000):
                    longer = before + b"\nA: " + b"a" * size + blank + after
                    self.assertEqual(server.answer(longer, 0), server.answer(request, 0), size)

    def test_what_is_remembered(self) -> None:
        server.answer.cache_clear()
        for _ in range(10):
            self.assertIsNotNone(server.answer(fields(), 0))
        information = server.answer.cache_info()
        self.assertEqual((information.hits, information.maxsize), (9, 64))
        if sys.implementation.name == "cpython":  # a slice of the whole is the whole, no copy
            again = reply_to(line(b"GET /test.jpg?1 HTTP/1.1"))
            self.assertTrue(again is server.pic_content)
        whole, _ = server.dated(server.pic_content, 1)
        self.assertIs(whole, server.dated(server.pic_content, 1)[0])  # no copy for each request

    def test_long_heads_cost_no_time(self) -> None:
        for request in (
            host(b" " * 60000 + b"a b"),
            fields(b"Content-Length:" + b" " * 60000 + b"a"),
            line(b"GET /" + b"%" * 8000 + b" HTTP/1.1"),
            line(b"GET http://" + b"a" * 8000 + b"% HTTP/1.1"),
            fields(*[b"a:"] * 15000, b"\x00"),
            b"\r\n" * 32000 + b"G",
            b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 12000,
        ):
            began = time.process_time()
            self.assertIn(status_of(request), {400, 404, 431}, request[:50])
            self.assertLess(time.process_time() - began, 1)

    def test_log_entries(self) -> None:
        for request, start_line, status, size in (
            (fields(), "GET / HTTP/1.1", 200, len(PAGE)),
            (line(b"GET /?a=b HTTP/1.1"), "GET /?a=b HTTP/1.1", 200, len(PAGE)),
            (b"\n" + line(b"GET /test.jpg HTTP/1.1"), "GET /test.jpg HTTP/1.1", 200, len(PICTURE)),
            (line(b"HEAD / HTTP/1.1"), "HEAD / HTTP/1.1", 200, 0),
            (b'A"\\\x1b[2J\xe9\t\x7f\x80\n\n', "A\\x22\\\\\\x1b[2J\\xe9\\t\\x7f\\x80", 400, 61),
            (b"\x16\x03\x01", "\\x16\\x03\\x01", 400, 61),
            (b"GET /" + b"a" * 60000, "GET /" + "a" * 8187, 414, 48),
        ):
            with self.subTest(request=request[:80]):
                answered = server.answer(request, 0)
                assert answered
                self.assertEqual(answered[1:3], (f'"{start_line}" {status}', size))

    def test_true_for_all_bytes(self) -> None:
        seed = random.randrange(1 << 30)
        source = random.Random(seed)
        words = [
            b"GET",
            b" ",
            b"/",
            b"HTTP/1.1",
            b"\r\n",
            b"\n",
            b"Host:",
            b"x",
            b":",
            b"\x00",
            b"%",
        ]
        for _ in range(1000):
            noise = b"".join(source.choice(words) for _ in range(source.randrange(30)))
            with self.subTest(seed=seed, noise=noise):
                answered = server.answer.__wrapped__(noise, 408)
                if answered:
                    self.assertIn(parse(answered[0]).status, {200, 400, 404, 405, 408, 501, 505})


class OnTheWire(unittest.TestCase):
    """Each row over a real connection: status and framing, as h11 sees them where it is there."""

    def test_each_row(self) -> None:
        with Server() as running:
            for section, request, status, why in ROWS:
                with self.subTest(f"{section}: {why}", request=request[:80]):
                    raw = running.ask(request)
                    self.check(request, status, raw)
                    if importlib.util.find_spec("h11"):
                        self.check_by_h11(request, status, raw)
            self.assertEqual(len(running.log()), len(ROWS))

    def check(self, request: bytes, status: int, raw: bytes) -> None:
        """Assert the status, the fields that each response has, and the content."""
        response = parse(raw)
        self.assertEqual(response.status, status)
        allow = {"allow"} if status == 405 else set()
        expected = {"date", "content-type", "content-length", "connection"} | allow
        self.assertEqual(set(response.fields), expected)
        self.assertEqual(response.fields["connection"], "close")
        day = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT"
        self.assertRegex(response.fields["date"], f"^{day}$")
        if allow:
            self.assertEqual(response.fields["allow"], "GET, HEAD")
        picture = b"/test.jpg" in request and status == 200
        types = {200: "image/jpeg" if picture else "text/html; charset=utf-8"}
        self.assertEqual(response.fields["content-type"], types.get(status, "text/plain"))
        length = int(response.fields["content-length"])
        if request.startswith(b"HEAD "):
            self.assertEqual(response.content, b"")
            got = {200: len(PICTURE if picture else PAGE)}.get(status, length)
            self.assertEqual(length, got)
        else:
            self.assertEqual(len(response.content), length)
            if status == 200:
                self.assertEqual(response.content, PICTURE if picture else PAGE)
            else:
                self.assertRegex(response.content, rb"^%d [^\n]+\.\n$" % status)

    def check_by_h11(self, request: bytes, status: int, raw: bytes) -> None:
        """Assert that h11 reads it as one response and then a closed connection."""
        import h11

        ours = h11.Connection(our_role=h11.CLIENT)
        method = "HEAD" if request.startswith(b"HEAD ") else "GET"
        ours.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        ours.send(h11.EndOfMessage())
        ours.receive_data(raw)
        ours.receive_data(b"")
        events: list[Any] = []
        while not events or type(events[-1]) not in (h11.ConnectionClosed, h11.NEED_DATA):
            events.append(ours.next_event())
        kinds = [type(event) for event in events if type(event) is not h11.Data]
        self.assertEqual(kinds, [h11.Response, h11.EndOfMessage, h11.ConnectionClosed])
        self.assertEqual(events[0].status_code, status)
