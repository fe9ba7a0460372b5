"""The table of answers, and what else a request or a page can be."""

import importlib.util
import os
import re
import select
import socket
import time
import unittest
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Optional

import server
from tests.pages import WRONG
from tests.support import GET, PAGE, PICTURE, POST, Server, read_all, read_answer

TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BYTES = [bytes([byte]) for byte in range(256)]
CONTROLS = [bytes([byte]) for byte in (*range(9), *range(11, 32), 127)]  # but tab, LF
VALUE = bytes([9, *range(32, 127), *range(128, 256)])  # all that it may be
QUERY = bytes(byte for byte in range(0x21, 0x100) if byte not in b"#\x7f")  # this, too
H11 = importlib.util.find_spec("h11")

# Requests with a place for what is tried.
FIRST = b"%b\r\n"
LINE = b"%b\r\nHost: x\r\n\r\n"
METHOD = LINE % b"%b HTTP/1.1"
TARGET = LINE % b"GET %b HTTP/1.1"
VERSION = LINE % b"GET / %b"
NO_VERSION = FIRST % b"GET / %b"
HOST = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n"
FIELDS = b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"
LENGTH = FIELDS % b"Content-Length: %b"
CODING = FIELDS % b"Transfer-Encoding: %b"

NAMES = b"Host Content-Length Transfer-Encoding".split()
NEARLY = [
    name[:at] + b"x" + name[at + 1 :] for name in NAMES for at in range(len(name) + 1)
]
LONG_HEAD = FIELDS % (b"A:" + b"a" * 65505)  # 64 KiB
LONG_NOISE = b"X\xff<b>'\"\\" + b"a" * 5000
ENDLESS = b" HTTP/1.1\r\nA:" + b"a" * 65536


class Row(NamedTuple):
    """One request and its answer. The last byte of the request settles the answer."""

    section: str  # of RFC 9110, RFC 9112 or another, or the README
    request: bytes
    status: int
    why: str
    content: bytes = b""  # all that a page holds, or some words of a refusal


def rows(
    section: str,
    status: int,
    why: str,
    request: bytes,
    *values: bytes,
    content: Optional[bytes] = None,
) -> list[Row]:
    """Return a row for each of the values, put into the request.

    They can stand in one literal, with " | " between them.
    """
    if content is None:
        content = PAGE if status == 200 else b""
    each = [value for text in values for value in text.split(b" | ")]
    return [Row(section, request % value, status, why, content) for value in each]


ROWS: list[Row] = [
    # Pages
    *rows("README", 200, "the page", TARGET, b"/ | /index.html"),
    *rows("README", 200, "the picture", TARGET, b"/test.jpg", content=PICTURE),
    *rows("9110 9.3.2", 200, "HEAD", LINE, b"HEAD / HTTP/1.1"),
    *rows("9110 9.3.2", 200, "HEAD", LINE, b"HEAD /test.jpg HTTP/1.1", content=PICTURE),
    *rows("9110 9.3.2", 404, "HEAD of nothing", LINE, b"HEAD /none HTTP/1.1"),
    *rows("9110 9.3.2", 414, "HEAD of something long", b"HEAD /%b", b"a" * 8187),
    *rows("9110 9.3.2", 400, "HEAD of nonsense", FIRST, b"HEAD / H | \r\nHEAD  * HTTP/1.0"),
    *rows("9110 9.1", 501, "nearly HEAD", METHOD, b"HEADS / | HEA / | head /", content=b"no method"),
    # Targets
    *rows("9112 3.2.1", 200, "a query chooses no page", TARGET, b"/?x=1 | /? | /?name=Zo\xc3\xab | /?http://u@a/", b"/?" + QUERY),
    *rows("9112 3.2.1", 200, "a query of a picture", TARGET, b"/test.jpg?a/b?c=[{|}]", content=PICTURE),
    *rows("3986 6.2.2.2", 200, "escapes", TARGET, b"/%69%6e%64%65%78.%68%74%6D%6C | /?%zz"),
    *rows("3986 6.2.2.2", 200, "escapes", TARGET, b"/%74est.jpg | /test%2Ejp%67?%", content=PICTURE),
    *rows("3986 2.2", 404, "another path", TARGET, b"/%2Ftest.jpg | /%2ftest.jpg | /%2574est.jpg | /index.html%00 | /%3f"),
    *rows("README", 404, "nothing has this path, though browsers send [ ] |", TARGET,
          b"/none | /server.py | //test.jpg | /TEST.JPG | /../etc/passwd | /%2e%2e/ | /caf%C3%A9 | /a+b*c | /[ | /] | /| | /%ff | http://a/none",
          b"http://a//test.jpg | http://a/http://a/ | /http://x/test.jpg | /-._~!$&'()*+,;=:@/amzAMZ059%aF%Fa%9b%Ed", content=b"nothing"),
    *rows("9112 3.2.2", 200, "absolute-form", TARGET, b"HTTP://aM%9B%eF%48:80/?x | http://a: | http://a?x | http://[::BE9]"),
    *rows("9112 3.2.2", 200, "absolute-form", TARGET, b"http://[::1]:8000/test.jpg | hTTp://a/test.jpg", content=PICTURE),
    *rows("9110 4.2", 400, "no http URI", TARGET,
          b"http:/// | http:// | http://?x | http:///test.jpg | http:/a | http:a | http://user@a/ | http://a:b/ | http://a:1:2/ | http://a%/",
          b"http://\xe4/ | xhttp://a/ | http://[1::2::3]/ | http://[:]/ | http://[::1]x/ | http://[::1/ | http://::1/ | xttp://a/ | hxtp://a/",
          b"htxp://a/ | httx://a/ | http;//a/ | http:;/a/ | http:/;a/ | http://:80/ | https://a/ | ftp://a/ | http://[]/", content=b"http://"),
    *rows("9112 3.2", 400, "no form of target", TARGET, b"test.jpg | ?x | * | a:80 | %2ftest.jpg | \xe4 | \\ | .", content=b"http://"),
    *rows("3986 3.5", 400, "a fragment", TARGET, b"#a | /#a | /?a#b | /?# | /a#?b | http://a#b | http://a/#", content=b"#"),
    *rows("3986 2.1", 400, "an escape that is none", TARGET, b"/%zz | /%2 | /% | /%g0 | /%0G | /%.. | /%@@ | http://a/%zz", content=b"hexadecimal"),
    *rows("3986 3.3", 400, "no byte of a path", TARGET, b'/<aa | /"a" | /\\ | /{a} | /^ | /` | /\xe4 | /\xe4? | http://a/<', content=b"escaped"),
    # Methods: these count before the target
    *rows("9110 15.5.6", 405, "a method for others", LINE % b"%b / HTTP/1.1", b"POST | PUT | DELETE | PATCH | OPTIONS | TRACE | CONNECT",
          content=b"GET and HEAD"),
    *rows("9110 15.5.6", 405, "whatever its target", METHOD,
          b"POST /nowhere | POST nowhere | TRACE * | POST /#a | PUT http://a/ | OPTIONS * | OPTIONS a:80 | CONNECT a:443 | CONNECT [::1]:80",
          b"CONNECT a", b'CONNECT ":1'),
    *rows("9110 15.5.6", 405, "in any version", LINE, b"PUT / HTTP/1.0 | POST / HTTP/1.9"),
    *rows("9110 9.1", 501, "not known, whatever its target", METHOD,
          b"BREW / | get / | GE / | GETS / | POSTS / | M-SEARCH * | BREW nowhere | BREW /#a | XCONNECT a:80", TCHAR + b" http://",
          content=b"no method"),
    # Versions
    *rows("9110 2.5", 200, "any minor version", VERSION, b"HTTP/1.0 | HTTP/1.2 | HTTP/1.9"),
    *rows("9110 15.6.6", 505, "not spoken", VERSION, b"HTTP/2.0 | HTTP/0.9 | HTTP/3.1", content=b"HTTP/1.x"),
    *rows("9113 3.4", 505, "this counts first", b"%b HTTP/2.0\r\n\r\n", b"PRI * | BREW ? | GET /#"),
    *rows("9112 2.3", 400, "not an HTTP-version", NO_VERSION,
          b"HTTP/1 | HTTP/11 | HTTP/1.10 | HTTP/01.1 | HTTP/1. | HTTP/.1 | http/1.1 | HTTP/\xb2.1 | HTTP/1.x | HTTP/a.1 | HTTP/1,1 | XTTP/1.1",
          b"HXTP/1.1 | HTXP/1.1 | HTTX/1.1 | HTTP:1.1", content=b"and not"),
    # First lines that are complete, and wrong
    *rows("9112 3", 400, "no version", FIRST, b"GET | GET / | G | GET HTTP/1.1", content=b"version is missing"),
    *rows("9112 3", 400, "a blank too many", FIRST, b"GET / ", b"GET / HTTP/1.1 ", b"GET  / HTTP/1.1 | GET /  HTTP/1.1 | GET  HTTP/1.1",
          content=b"blank too many"),
    *rows("9112 3", 400, "no start line", FIRST,
          b"GET\t/ HTTP/1.1 | GET /\tHTTP/1.1 | G(T / HTTP/1.1 | G\xe4T / HTTP/1.1 | GET: / HTTP/1.1",
          b"GET\x00/ HTTP/1.1"),
    *rows("9112 2.2", 400, "a CR alone, which is shown", FIRST, b"GET / HTTP/1.1\r", content=rb"\r"),
    *rows("9112 3", 400, "a part too many", FIRST, b"GET / / HTTP/1.1", content=b"and not"),
    *rows("9112 3", 400, "LF alone", b"%b", b"G\n | GET /\n | \nGET /\n", content=b"version is missing"),
    *rows("9112 3", 400, "a control or a blank", FIRST % b"GET /%b HTTP/1.1", *CONTROLS, b"\t", b" "),
    *rows("9112 3", 400, "in the query, too", FIRST % b"GET /?%b HTTP/1.1", *CONTROLS, b"\t", b" "),
    *rows("9112 3", 400, "no first byte", b"%b", *(byte for byte in BYTES if byte not in TCHAR + b"\r\n"), content=b"https"),
    *rows("9112 3", 400, "TLS", b"%b", b"\x16", content=rb"begins with '\x16':"),
    *rows("9112 2.2", 400, "no first byte after empty lines", b"%b", b"\r\n ", b"\n\r\n\x16 | \r\n(", content=b"no request begins with"),
    # What was sent comes back escaped and cut
    *rows("README", 400, "no riddle for a terminal", b"%b", FIRST % LONG_NOISE, TARGET % (b"/<" + b"a" * 5000), FIELDS % LONG_NOISE, HOST % LONG_NOISE),
    # Limits
    *rows("9112 3", 404, "8192 bytes fit", TARGET, b"/" + b"a" * 7986, b"/" + b"a" * 8178),
    *rows("9112 2.2", 404, "whatever is before them", b"\n\r\n" + TARGET, b"/" + b"a" * 8178),
    *rows("9112 3", 414, "8193 don't", b"GET /%b", b"a" * 8188, b"<" * 8188, content=b"8 KiB"),
    *rows("9112 2.2", 414, "nor after empty lines", b"\n\r\nGET /%b", b"a" * 8188),
    *rows("6585 5", 200, "64 KiB just fit", b"%b", LONG_HEAD, LONG_HEAD.replace(b"\r", b"").replace(b"A", b"AAAAA")),
    *rows("6585 5", 431, "more doesn't", b"%b", (b"GET /" + ENDLESS)[:65536], (b"B /#" + ENDLESS)[:65536], content=b"64 KiB"),
    *rows("6585 5", 431, "nor with empty lines", b"%b", b"\r\n" * 32767 + b"GE"),
    # Lines
    *rows("9112 2.2", 200, "LF alone, empty lines before", b"%b", b"\n\r\n\n" + GET,
          b"GET / HTTP/1.0\n\n | GET / HTTP/1.0\r\nA:\n\r\n | GET / HTTP/1.0\nA:\r\n\n"),
    *rows("9112 5", 400, "no colon", FIELDS, b"A | A\r\nB: c | A b", content=b"no colon"),
    *rows("9112 5.1", 400, "a blank before the colon", FIELDS, b"A : a | A\t: a | Host : a", content=b"before"),
    *rows("9112 5.2", 400, "a folded line", FIELDS, b" A: a", b"A:\r\n b | A:\r\n\tb", content=b"begin with a blank"),
    *rows("9112 5", 400, "no field line", FIELDS, b": a | A(b): a | \xc4: a | A: a\r | \rA: a | A:\r\n\r"),
    *rows("9112 2.2", 400, "a CR alone, which is shown", LINE, b"\rGET / HTTP/1.0 | GET / HTTP/1.0\r\nA: a\r", content=rb"\r"),
    *rows("9112 5", 400, "counts first", LINE, b"POST / HTTP/2.0\r\nA | GET / HTTP/1.1\r\n A: a"),
    *rows("9110 5.1", 400, "no byte of a name", FIELDS % b"A%b:", *(byte for byte in BYTES if byte not in TCHAR + b":\n")),
    *rows("9110 5.1", 200, "nearly a name that counts", FIELDS % b"%b: ?", *NEARLY),
    *rows("9110 5.5", 400, "no byte of a value", FIELDS % b"A: a%bb", *CONTROLS, content=b"no name or value has"),
    *rows("9110 5.5", 200, "all that names and values may be", FIELDS, TCHAR + b":" + VALUE, b"A:"),
    # Host
    *rows("9112 3.2", 200, "HTTP/1.0 needs no Host", b"GET %b HTTP/1.0\r\n\r\n", b"/ | http://a"),
    *rows("9112 3.2", 400, "no Host", b"%b\r\n\r\n",
          b"GET / HTTP/1.1 | GET http://a/ HTTP/1.1 | GET / HTTP/1.2\r\nA: Host: b | BREW / HTTP/1.1\r\nX-Host: a\r\nHosts: b",
          content=b"needs a Host"),
    *rows("9112 3.2", 400, "two", b"%b / HTTP/1.0\r\nHost: x\r\nhOST: x\r\n\r\n", b"GET | BREW | POST", content=b"one Host"),
    *rows("9110 7.2", 200, "a Host", HOST, b"", b" ", b"a \t | \ta", b"a" * 9000,
          b"[::1]:8000 | a | a:80 | a: | 1.2.3.4:0 | [::1] | [fe80::1.2.3.4]: | [1:2:3:4:5:6:7:aF] | [::bE9]",
          b"-._~!$&'()*+,;=amzAMZ059%aF%Fa%9b%Ed:1"),
    *rows("9110 7.2", 400, "not a Host", HOST, b"a b", b'a/ | a:b | u@a | a:1:2 | a%2 | "a" | a\xe4 | ::1 | x[::1] | [::1]x | [::1]:x | [::1]80 | /aa',
          b"%.. | %@@ | %g0 | %0G | [::1 | [1::2::3] | [:] | [] | [g] | [1] | [1.2.3.4] | [12345::] | [::%251]", content=b"Host is a name"),
    *rows("9110 7.2", 400, "counts before the method", b"%b HTTP/1.1\r\nHost: a/b\r\n\r\n", b"GET / | POST / | BREW /"),
    # Where a body would end
    *rows("9110 8.6", 200, "a length", LENGTH, b"0 | 5\t\r\nCONTENT-length:5 | 5, 5", b"9" * 5000),
    *rows("9110 8.6", 400, "no length", LENGTH, b"", b"1 2 | a | -1 | +1 | 1.0 | 0x1 | 1_0 | \xb2 | \xb95", content=b"Content-Length is a number"),
    *rows("9110 8.6", 400, "two lengths", LENGTH, b"5, 6 | 5\r\nContent-Length: 6 | a\r\nContent-Length: 5", content=b"differ"),
    *rows("9112 7.1", 200, "chunked", CODING, b"chunked | Chunked | ,chunked, ,"),
    *rows("9112 6.1", 501, "another coding before it", CODING,
          b"gzip, chunked | GZIP , Chunked | gzip,, chunked, | gzip;q=1, chunked | brew, chunked | gzip\r\nTRANSFER-encoding:chunked",
          content=b"chunked"),
    *rows("9112 6.3", 400, "chunked not last", CODING, b"",
          b"chunked, gzip | gzip chunked | chunked\r\nTransfer-Encoding: gzip | chunked, chunked | chunked, gzip, chunked | , | gzip | brew",
          b"chunked,brew | identity | xchunked | chunkedx | chunked;a=b", content=b"chunked"),
    *rows("9112 6.1", 400, "with a length", CODING % b"%b\r\nContent-Length: 5", b"chunked | x", content=b"neither"),
    *rows("9112 6.1", 400, "in HTTP/1.0", CODING.replace(b"1.1", b"1.0"), b"", b" chunked", content=b"neither"),
    *rows("9112 6.1", 400, "counts before the method", CODING.replace(b"GET", b"BREW"), b" gzip"),
]  # fmt: skip


TYPES = {PAGE: "text/html; charset=utf-8", PICTURE: "image/jpeg"}
PLAIN = "text/plain; charset=utf-8"


def answer_to(received: bytes) -> tuple[int, bytes]:
    """Return status and content as parse and respond say them."""
    try:
        response = server.respond(server.parse(received))
        return int(response.status[:3]), response.content
    except server.Refused as refusal:
        status, why, *_ = refusal.args
        return int(status[:3]), why.encode()


def is_head(row: Row) -> bool:
    """Return whether the response has no content."""
    return row.request.lstrip(b"\r\n").startswith(b"HEAD ")


class Rows(unittest.TestCase):
    """Each row of the table."""

    raw: ClassVar[list[bytes]]  # what the server sent for each row

    @classmethod
    def setUpClass(cls) -> None:
        """Ask for each row."""
        cls.raw = []
        with Server() as running:
            for row in ROWS:
                began = time.monotonic()
                cls.raw.append(running.ask(row.request))
                if time.monotonic() > began + 9.0:
                    raise AssertionError(f"this should be answered at once: {row}")

    def named(self, row: Row) -> AbstractContextManager[Any]:
        """Name the row where something fails."""
        return self.subTest(f"{row.section}: {row.why}", request=row.request[-99:])

    def check(self, row: Row, raw: bytes) -> None:
        """Check status, fields and content."""
        status, fields, content = read_answer(raw)
        self.assertEqual(status, row.status, content[:200])
        self.assertEqual(fields["connection"], "close")
        self.assertEqual(fields.get("allow"), "GET, HEAD" if status == 405 else None)
        kind, length = fields["content-type"], int(fields["content-length"])
        if status == 200:
            self.assertEqual(kind, TYPES.get(row.content, kind))
            self.assertEqual(length, len(row.content) or length)
        else:
            self.assertEqual(kind, PLAIN)
        if is_head(row):
            self.assertEqual(content, b"")
            return
        self.assertEqual(length, len(content))
        self.assertIn(row.content, content)
        if status != 200:
            self.assertRegex(content, rb"\A%d [A-Z][ -~]{,400}\.\n\Z" % status)

    def test_whole(self) -> None:
        """Each gets its answer."""
        for row, raw in zip(ROWS, self.raw):
            with self.named(row):
                self.check(row, raw)

    def test_the_last_byte_settles_it(self) -> None:
        """Before it nothing comes; what is sent after it changes nothing."""
        with Server() as running:
            for row in ROWS:
                with self.named(row), running.connect(row.request[:-1]) as client:
                    running.ask()
                    self.assertEqual(select.select([client], [], [], 0)[0], [])
                    client.sendall(row.request[-1:] + b"\0\n" * 100)
                    self.check(row, read_all(client))

    def test_byte_by_byte(self) -> None:
        """A request can come in pieces of any size."""
        for size, longest in ((1, 2000), (999, 1 << 17)):
            with Server(changes=f"small_reads:{size}") as running:
                for row in ROWS:
                    if len(row.request) < longest:
                        with self.named(row):
                            self.check(row, running.ask(row.request))

    def test_parse(self) -> None:
        """The functions that a program can import say the same as the server."""
        rest = LINE % b" HTTP/1.1"
        for row in ROWS:
            for more in (b"", b"\r\n", b"\n\n", rest, GET, b"\0" * 100, b"x" * 70000):
                with self.named(row):
                    status, content = answer_to(row.request + more)
                    self.assertEqual(status, row.status, more[:9])
                    self.assertIn(row.content, content)

    @unittest.skipUnless(H11 or os.environ.get("REQUIRE_TOOLS"), "h11 isn't installed")
    def test_h11_reads_one_response_and_then_the_end(self) -> None:
        """Somebody else's parser finds nothing wrong."""
        import h11

        for row, raw in zip(ROWS, self.raw):
            ours = h11.Connection(h11.CLIENT)
            method = "HEAD" if is_head(row) else "GET"
            ours.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
            ours.send(h11.EndOfMessage())
            ours.receive_data(raw)
            ours.receive_data(b"")
            with self.named(row):
                events: Any = iter(ours.next_event, h11.ConnectionClosed())
                response, *_, end = events
                self.assertEqual(response.status_code, row.status)
                self.assertIsInstance(end, h11.EndOfMessage)


class Requests(unittest.TestCase):
    """What a row doesn't say about requests."""

    def test_path_and_query(self) -> None:
        """A page gets its path unescaped, and the query as it is."""
        for target, path, query in (
            (b"/?", "/", ""),
            (b"/?x?y", "/", "x?y"),
            (b"/a%41/?b%41", "/aA/", "b%41"),
            (b"/caf%C3%A9?name=J%C3%B6rg", "/caf\u00e9", "name=J%C3%B6rg"),
            (b"/?\xc3\xa4\xff", "/", "\u00e4\ufffd"),
            (b"/%2F%2f/%2541", "////%41", ""),
            (b"/+%20", "/+ ", ""),
            (b"http://a", "/", ""),
            (b"http://a?/b", "/", "/b"),
            (b"HTTP://[::1]:1/%7e/b?c", "/~/b", "c"),
        ):
            for method in ("GET", "HEAD"):
                request = server.parse(METHOD % (method.encode() + b" " + target))
                given = (request.method, request.path, request.query)
                self.assertEqual(given, (method, path, query))

    def test_fields(self) -> None:
        """A page gets each value as text, and several with one name joined."""
        for lines, fields in (
            (b"A:b \t", {"a": "b"}),
            (b"User-AGENT:  \t a  b", {"user-agent": "a  b"}),
            (b"A: b\r\nC: d\r\na: e", {"a": "b, e", "c": "d"}),
            (b"A: b\x85Host: c\xa0", {"a": "b\x85Host: c\xa0"}),
            (b"A: b\nC: \xe4:d", {"a": "b", "c": "\xe4:d"}),
        ):
            request = server.parse(b"\r\n" + FIELDS % lines + b"E: body\r\n\r\n")
            self.assertEqual(request.fields, {"host": "x", **fields})

    def test_long_heads_cost_no_time(self) -> None:
        """No request keeps a regular expression busy."""
        for request in (
            HOST % (b" " * 60000 + b"a b"),
            HOST % (b" [" + b":" * 60000 + b"]"),
            LENGTH % (b" " * 60000 + b"a"),
            TARGET % (b"/" + b"%" * 8000),
            TARGET % (b"http://" + b"a" * 8000 + b"%"),
            CODING % (b"," * 60000),
            FIELDS % (b"a:\r\n" * 15000 + b"\0"),
            b"\r\n" * 32000 + b"(",
            b"\r\n" * 32000 + b"GET /\r\n",
        ):
            began = time.process_time()
            self.assertEqual(answer_to(request)[0], 400)
            self.assertLess(time.process_time() - began, 2.0, request[:50])

    def test_the_end_of_a_client_in_mid_head(self) -> None:
        """Who closes early is told so, and who has sent nothing isn't."""
        told = rb".{9}400 .*complete.*\.\n"
        rows = {
            b"": b"",
            b"\n\r\n\n": b"",
            b"\r\nG": told,
            b"GET / HT": told,
            GET[:-5]: told,
            GET[:-2]: told,
            GET[:-1]: told,
            b"HEAD / HTTP/1.1\r\n": rb".{9}400 .*\r\n\r\n",
        }
        with Server() as running:
            for sent, pattern in rows.items():
                with self.subTest(sent), running.connect(sent) as client:
                    client.shutdown(socket.SHUT_WR)
                    self.assertTrue(re.fullmatch(pattern, read_all(client), re.S))
            self.assertEqual(len(running.log()), 6)


class Pages(unittest.TestCase):
    """What a program that replaces respond can do, and can do wrong."""

    def test_what_is_still_sent(self) -> None:
        """A response survives it: the server reads on until the client closes."""
        rows = {  # so many pieces are sent after the first byte of the response
            LENGTH % b"5000000": 50,
            CODING % b"chunked": 50,
            GET + b"more": 50,
            POST: 50,
            METHOD % b"BREW /": 50,
            b"GET /\r\n": 50,
            TARGET % b"/size?70000": 1,
            TARGET % b"/size?150000": 1,
            TARGET % b"/size?8000000": 1,
        }
        with Server(changes="pages") as running:
            for request, number in rows.items():
                with self.subTest(request), running.connect(request, 4096) as client:
                    first = client.recv(1)
                    for _ in range(number):
                        client.sendall(b"x" * 100_000)
                    _, fields, content = read_answer(first + read_all(client))
                    self.assertEqual(int(fields["content-length"]), len(content))

    def test_a_page_made_anew(self) -> None:
        """It has its own length each time, and HEAD has that, too."""
        with Server(changes="pages") as running:
            for size in (7, 70_000, 0, 7):
                self.assertEqual(running.get(f"/size?{size}").content, bytes(size))
                head = running.ask(b"HEAD /size?%d HTTP/1.0\r\n\r\n" % size)
                _, fields, content = read_answer(head)
                self.assertEqual(fields["content-length"], str(size))
                self.assertEqual(content, b"")

    def test_a_page_that_refuses(self) -> None:
        """It says why as the server's own refusals do, with its fields."""
        with Server(changes="pages") as running:
            status, fields, content = running.get("/refuse")
            self.assertEqual(running.errors(), "")
        self.assertEqual((status, content), (418, b"418 Teapot: no coffee.\n"))
        told = (fields["a"], fields["c"], fields["content-type"])
        self.assertEqual(told, ("b", "d", PLAIN))

    def test_what_is_no_response(self) -> None:
        """It is the page's bug, and nothing of it is sent."""
        with Server(changes="pages") as running:
            for number, wrong in enumerate(WRONG):
                with self.subTest(wrong):
                    status, _, content = running.get(f"/wrong?{number}")
                    self.assertEqual(status, 500)
                    self.assertRegex(content, rb"\A500 [ -~]+: [ -~]+\.\n\Z")
            head = read_answer(running.ask(b"HEAD /wrong?0 HTTP/1.0\r\n\r\n"))
            self.assertEqual((head.status, head.content), (500, b""))
            self.assertEqual(running.errors().count("Traceback "), len(WRONG) + 1)
