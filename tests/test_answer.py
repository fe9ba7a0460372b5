"""The table of answers: each row once over the wire, then whole and in pieces through parse."""

import email.utils
import importlib.util
import os
import re
import socket
import time
import unittest
from typing import ClassVar, Optional

import server
from tests.support import GET, ROOT, Response, Server, parse, read_all

PAGE, PICTURE = (ROOT / "index.html").read_bytes(), (ROOT / "test.jpg").read_bytes()
TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONTROLS = [bytes([byte]) for byte in (*range(9), *range(11, 32), 127)]  # but tab and LF
VALUE = bytes([9, *range(32, 127), *range(128, 256)])  # all that it may be
QUERY = bytes(byte for byte in range(0x21, 0x100) if byte not in b"#\x7f")  # this, too
H11 = importlib.util.find_spec("h11")
Row = tuple[str, bytes, int, str]
LINE = b"%b\r\nHost: x\r\n\r\n"  # requests with a place for what is tried
METHOD = LINE % b"%b HTTP/1.1"
TARGET = LINE % b"GET %b HTTP/1.1"
VERSION = LINE % b"GET / %b"
HOST = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n"
FIELDS = b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"
LENGTH = FIELDS % b"Content-Length: %b"
CODING = FIELDS % b"Transfer-Encoding: %b"
NAMES = b"Host Content-Length Transfer-Encoding".split()
NEARLY = [name[:at] + b"x" + name[at + 1 :] for name in NAMES for at in range(len(name) + 1)]
LONG_HEAD = FIELDS % (b"A:" + b"a" * 65505)  # 64 KiB


def rows(section: str, status: int, why: str, request: bytes, *values: bytes) -> list[Row]:
    """Return a row for each of the values, put into the request."""
    return [(section, request % value, status, why) for value in values]


# section, request, status, why
ROWS: list[Row] = [
    *rows("DESIGN 3", 200, "page and picture", TARGET, b"/", b"/index.html", b"/test.jpg"),
    *rows("9110 9.3.2", 200, "HEAD", LINE, b"HEAD / HTTP/1.1", b"HEAD /test.jpg HTTP/1.1"),
    ("9110 9.3.2", LINE % b"HEAD /none HTTP/1.1", 404, "HEAD of nothing"),
    ("9110 9.3.2", LINE % (b"HEAD /" + b"a" * 9000), 414, "HEAD of something long"),
    *rows("9110 9.3.2", 400, "nor nonsense", b"%b\r\n\r\n", b"HEAD / H", b"\r\nHEAD * HTTP/1.0"),
    *rows("9112 3.2.1", 200, "a query is ignored", TARGET, b"/?x=1", b"/?", b"/?name=Zo\xc3\xab",
          b"/test.jpg?a/b?c=[{|}]", b"/test.jpg?" + QUERY, b"/?http://u@a/"),
    *rows("3986 6.2.2.2", 200, "escaped letters", TARGET, b"/%74est.jpg", b"/test%2Ejp%67?%",
          b"/%69%6e%64%65%78.%68%74%6D%6C"),
    *rows("3986 2.2", 404, "another", TARGET, *b"/%2ftest.jpg /%2Ftest.jpg /%2574est.jpg".split()),
    *rows("DESIGN 3", 404, "nothing has this path, though browsers send [ ] |", TARGET,
          *b"/none /server.py //test.jpg /TEST.JPG /../etc/passwd /%2e%2e/ /a+b*c /[ /] /|".split(),
          *b"http://a/none http://a//test.jpg /http://x/test.jpg".split(),
          b"/-._~!$&'()*+,;=:@/amzAMZ059%aF%Fa%9b%Ed"),
    *rows("9112 3.2.2", 200, "absolute-form", TARGET, b"HTTP://aM%9B%eF%48:80/?x",
          b"http://a:", b"http://a?x", b"http://[::BE9]:8000/test.jpg", b"http://a/test.jpg"),
    *rows("9110 4.2", 400, "no http URI", TARGET,
          *b"http:/// http:// http://?x http:///test.jpg http:/a http:a http://user@a/".split(),
          *b"http://a:b/ http://a:1:2/ http://a%/ http://\xe4/ http://a#b xhttp://a/".split(),
          *b"http://[1::2::3]/ http://[:]/ http://[::1]x/ http://[::1/ http://::1/".split(),
          *b"xttp://a/ hxtp://a/ htxp://a/ httx://a/ http;//a/ http:;/a/ http:/;a/".split(),
          *b"http://:80/ https://a/ ftp://a/ http://[]/ http://a/%zz http://a/<".split()),
    *rows("9112 3.2", 400, "no form of target", TARGET,
          *b"test.jpg ?x * a:80 #a /#a /?a#b /?# %2ftest.jpg %2Findex.html \xe4 \\ .".split(),
          *b'/%zz /%2 /% /%g0 /%0G /%.. /%@@ /<aa /"a" /\\ /{a} /^ /` /\xe4 /\xe4?'.split()),
    *rows("9110 15.5.6", 405, "a method for others", LINE % b"%b / HTTP/1.1",
          *b"POST PUT DELETE PATCH OPTIONS TRACE CONNECT".split()),
    *rows("9112 3.2", 405, "a method with its forms of target", LINE, b"POST /nowhere HTTP/1.1",
          b"OPTIONS * HTTP/1.1", b"CONNECT a:443 HTTP/1.1", b"CONNECT [::1]:80 HTTP/1.1",
          b"PUT http://a/ HTTP/1.0", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked"),
    *rows("9112 3.2", 400, "no authority-form", METHOD % b"CONNECT %b",
          *b"a a: :80 a:b u@a:80 a/b:80 a?b:80 a#b:80 a:80b".split()),
    *rows("9112 3.2", 400, "another's form of target", METHOD,
          b"OPTIONS a:80", b"OPTIONS **", b"TRACE *", b"POST nowhere", b"POST /#a"),
    *rows("9110 9.1", 501, "not known, with any target", METHOD, b"BREW /", b"get /", b"GE /",
          b"M-SEARCH *", b"BREW nowhere", b"BREW /#a", b"XCONNECT a:80", TCHAR + b" http://"),
    *rows("9110 2.5", 200, "any minor version", VERSION, b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9"),
    *rows("9110 15.6.6", 505, "not spoken", VERSION, *b"HTTP/2.0 HTTP/0.9 HTTP/3.1".split()),
    *rows("9113 3.4", 505, "this counts first", b"%b HTTP/2.0\r\n\r\n", b"PRI *", b"BREW ?"),
    *rows("9112 2.3", 400, "not an HTTP-version", VERSION,
          *b"HTTP/1 HTTP/11 HTTP/1.10 HTTP/01.1 HTTP/1. HTTP/.1 http/1.1 HTTP/\xb2.1".split(),
          *b"HTTP/1.x HTTP/a.1 HTTP/1,1 XTTP/1.1 HXTP/1.1 HTXP/1.1 HTTX/1.1 HTTP:1.1".split()),
    *rows("9112 3", 400, "no start line", LINE,
          b"GET", b"GET /", b"GET / ", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"/ HTTP/1.1",
          b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"\tGET",
          b"GET / HTTP/1.1\r", b"GET / / HTTP/1.1", b"GET  HTTP/1.1", b"GET HTTP/1.1",
          b"G(T / HTTP/1.1", b"G\xe4T / HTTP/1.1", b"GET: / HTTP/1.1", b"GET\x00/ HTTP/1.1"),
    *rows("9112 3", 400, "nor the shortest", b"%b", b"G\n\r\n", b"G\n\n", b"G\r\n\r\n"),
    *rows("9112 3", 400, "a control or a blank", TARGET % b"/%b", *CONTROLS, b"\t", b" "),
    *rows("9112 3", 400, "in the query, too", TARGET % b"/?%b", *CONTROLS, b"\t", b" "),
    *rows("9112 3", 404, "8192 bytes fit", TARGET, b"/" + b"a" * 7986, b"/" + b"a" * 8178),
    ("9112 2.2", b"\n\r\n" + TARGET % (b"/" + b"a" * 8176), 404, "whatever is before them"),
    ("9112 2.2", b"\n\r\n" + TARGET % (b"/" + b"a" * 8180), 414, "nor does it make room"),
    *rows("9112 3", 414, "8193 do not", TARGET, b"/" + b"a" * 8179, b"/" + b"<" * 8179),
    ("9112 3", (TARGET % (b"/" + b"a" * 8179)).replace(b"\r", b""), 414, "with LF alone neither"),
    ("6585 5", LONG_HEAD, 200, "64 KiB just fit"),
    *rows("6585 5", 431, "one more byte", LONG_HEAD.replace(b"GET /", b"%b"), b"GET /a", b"BREW :"),
    ("6585 5", LONG_HEAD.replace(b"\r", b"").replace(b"A", b"AAAAA"), 200, "with LF alone"),
    ("6585 5", LONG_HEAD.replace(b"\r", b"").replace(b"A", b"AAAAAA"), 431, "and one more doesn't"),
    *rows("9112 2.2", 200, "LF alone, empty lines before", b"%b", b"\n\r\n\n" + GET,
          *(b"GET / HTTP/1.0\n\n", b"GET / HTTP/1.0\r\nA:\n\r\n", b"GET / HTTP/1.0\nA:\r\n\n")),
    *rows("9112 3.2", 200, "HTTP/1.0 needs no Host", b"GET %b HTTP/1.0\r\n\r\n", b"/", b"http://a"),
    ("9112 2.2", b"\r\n " + GET, 400, "a line that isn't empty before"),
    *rows("DESIGN 3", 400, "no first byte, at once (TLS is last)", b"%b", b"\x16" * 9000, b"\r\n(",
          *b'\0 \x80 \xff \x7f : " /'.split(), b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03"),
    *rows("9112 3.2", 400, "no Host", b"%b\r\n\r\n", b"GET / HTTP/1.1", b"GET http://a/ HTTP/1.1",
          b"GET / HTTP/1.2\r\nA: Host: b", b"BREW / HTTP/1.1\r\nX-Host: a\r\nHosts: b"),
    *rows("9112 3.2", 400, "two", b"%b / HTTP/1.0\r\nHost: x\r\nhOST: x\r\n\r\n", b"GET", b"BREW"),
    *rows("9110 7.2", 200, "a Host", HOST, b"", b" ", b"a \t", b"\ta", b"a" * 9000, b"[::1]:8000",
          *b"a a:80 a: 1.2.3.4:0 [::1] [fe80::1.2.3.4]: [1:2:3:4:5:6:7:aF] [::bE9]".split(),
          b"-._~!$&'()*+,;=amzAMZ059%aF%Fa%9b%Ed:1"),
    *rows("9110 7.2", 400, "not a Host", HOST, b"a b",
          *b'a/ a:b u@a a:1:2 a%2 "a" a\xe4 ::1 x[::1] [::1]x [::1]:x [::1]80 /aa'.split(),
          *b"%.. %@@ %g0 %0G [::1 [1::2::3] [:] [] [g] [1] [1.2.3.4] [12345::] [::%251]".split()),
    *rows("9110 7.2", 400, "counts first", b"%b / HTTP/1.0\r\nHost: a/b\r\n\r\n", b"GET", b"POST"),
    ("9110 7.2", b"BREW / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "which counts before the method"),
    *rows("9112 5", 400, "no field line", FIELDS, b"A", b": a", b"A : a", b"A\t: a", b"Host : a",
          b"A(b): a", b"\xc4: a", b"A:\r\n b", b"A:\r\n\tb", b"A: a\r", b"\rA: a", b"A:\r\n\r"),
    *rows("9112 5", 400, "counts first", LINE, b"POST / HTTP/2.0\r\nA", b"GET / HTTP/1.1\r\n A: a"),
    *rows("9110 5.1", 400, "no byte of a name", FIELDS % b"A%b:",
          *(bytes([byte]) for byte in range(256) if byte not in TCHAR + b":\n")),
    *rows("9110 5.1", 200, "nearly a name that counts", FIELDS % b"%b: ?", *NEARLY),
    *rows("9110 5.5", 400, "no byte of a value", FIELDS % b"A: a%bb", *CONTROLS),
    *rows("9110 5.5", 200, "all that names and values may be", FIELDS, TCHAR + b":" + VALUE, b"A:"),
    *rows("9110 8.6", 200, "a length", LENGTH, b"0", b"5\t\r\nCONTENT-length:5", b"9" * 5000),
    *rows("9110 8.6", 400, "not one", LENGTH, b"", b"1 2", b"5, 6", b"5\r\nContent-Length: 6",
          *b"a -1 +1 1.0 0x1 1_0 \xb2".split()),
    *rows("9112 6.1", 200, "codings that are known", CODING, b"chunked", b"GZIP , Chunked",
          b"gzip,, chunked,", b"gzip\r\nTRANSFER-encoding:chunked",
          b"gzip,compress,deflate,x-gzip,x-compress,chunked"),
    *rows("9112 6.3", 400, "chunked not last", CODING, b"", b"chunked, gzip", b"gzip chunked",
          b"chunked\r\nTransfer-Encoding: gzip", b"chunked, chunked", b"chunked, gzip, chunked",
          *b", gzip brew chunked,brew identity xchunked chunked;a=b".split()),
    *rows("9112 6.1", 501, "not known", CODING, b"brew, chunked", b"gzip;q=1, chunked"),
    *rows("9112 6.1", 400, "a length", CODING % b"%b\r\nContent-Length: 5", b"chunked", b"x"),
    *rows("9112 6.1", 400, "this counts first", CODING.replace(b"GET", b"BREW"), b" gzip"),
    *rows("9112 6.1", 400, "in HTTP/1.0", CODING.replace(b"1.1", b"1.0"), b"", b" chunked"),
]  # fmt: skip


def status_of(received: bytes) -> Optional[int]:
    """Return the status of the answer to what has been received, or None if more must come."""
    request = server.parse(received)
    return request and (request.error or int(server.respond(request)[9:12]))


def settled(request: bytes, status: int) -> int:
    """Return how many bytes of a row settle its answer."""
    start = len(request) - len(request.lstrip(b"\r\n"))
    if request[start] not in TCHAR:
        return start + 1
    if status in (414, 431):
        return start + 8193 if status == 414 else 65536
    blank_line = re.compile(rb"\n\r?\n").search(request, start)
    assert blank_line, "a row without an end"
    return blank_line.end()


def is_head(request: bytes) -> bool:
    """Return whether the response to a request has no content."""
    return request.lstrip(b"\r\n").startswith(b"HEAD ")


class Rows(unittest.TestCase):
    """Each row of the table."""

    raw: ClassVar[list[bytes]] = []  # what the server sent for each row
    log: ClassVar[list[str]] = []

    @classmethod
    def setUpClass(cls) -> None:
        with Server() as running:
            cls.raw = [running.ask(request) for _, request, _, _ in ROWS]
            cls.log = running.log()

    def test_over_the_wire(self) -> None:
        self.assertEqual(len(self.log), len(ROWS))
        for (section, request, status, why), raw, logged in zip(ROWS, self.raw, self.log):
            with self.subTest(f"{section}: {why}", request=request[:80]):
                self.check(request, status, parse(raw), logged)

    def check(self, request: bytes, status: int, response: Response, logged: str) -> None:
        """Check status, fields, content and the line in the log."""
        fields, content, kind = response.fields, response.content, "text/plain"
        self.assertEqual(response.status, status)
        date, size = fields.pop("date"), int(fields.pop("content-length"))
        sent = email.utils.parsedate_to_datetime(date)
        self.assertEqual(email.utils.format_datetime(sent, usegmt=True), date)  # IMF-fixdate
        self.assertLess(abs(sent.timestamp() - time.time()), 60)
        when = sent.strftime("%d/%b/%Y:%H:%M:%S +0000")
        self.assertTrue(logged.startswith(f'127.0.0.1 - - [{when}] "'), logged)
        self.assertTrue(logged.endswith(f'" {status} {len(content)}'), logged)
        if status == 200:
            picture = re.match(rb"\S+ \S*/(t|%74)est", request)
            content = PICTURE if picture else PAGE
            kind = "image/jpeg" if picture else "text/html; charset=utf-8"
        allow = {"allow": "GET, HEAD"} if status == 405 else {}
        self.assertEqual(fields, {"content-type": kind, "connection": "close", **allow})
        if is_head(request):
            self.assertEqual(response.content, b"")
            self.assertTrue(size == len(content) or status != 200)
        else:
            self.assertEqual((response.content, size), (content, len(content)))
            if status != 200:
                self.assertRegex(content, rb"\A%d [A-Z][ -~]+: [ -~]+\.\n\Z" % status)

    @unittest.skipUnless(H11 or os.environ.get("REQUIRE_TOOLS"), "h11 is not installed")
    def test_h11_reads_one_response_and_then_the_end(self) -> None:
        import h11

        for (section, request, status, why), raw in zip(ROWS, self.raw):
            with self.subTest(f"{section}: {why}", request=request[:80]):
                ours = h11.Connection(our_role=h11.CLIENT)
                method = "HEAD" if is_head(request) else "GET"
                ours.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
                ours.send(h11.EndOfMessage())
                ours.receive_data(raw)
                ours.receive_data(b"")
                response = event = ours.next_event()
                while isinstance(event, (h11.Response, h11.Data)):
                    event = ours.next_event()
                self.assertEqual(getattr(response, "status_code", 0), status)
                self.assertIsInstance(event, h11.EndOfMessage)
                self.assertIsInstance(ours.next_event(), h11.ConnectionClosed)

    def test_in_pieces_and_with_bytes_after_it(self) -> None:
        for section, request, status, why in ROWS:
            with self.subTest(f"{section}: {why}", request=request[:80], size=len(request)):
                end, step = settled(request, status), 1 + len(request) // 1000
                for size in {*range(0, len(request), step), end - 1, end, len(request)}:
                    known = None if size < end else status
                    self.assertEqual(status_of(request[:size]), known, size)
                for more in (b"\r\n", b"\n\n", GET, b"\x00" * 100, b"x" * 70000):
                    self.assertEqual(status_of(request + more), status, more[:20])


class Details(unittest.TestCase):
    """What a row doesn't say."""

    def test_what_a_page_gets(self) -> None:
        given = b"/?x /a%41/?b http://a http://a?/b HTTP://[::1]:1/%7e/b?c /%2F%2f/ /%2574".split()
        paths = ["/", "/aA/", "/", "/", "/~/b", "/%2F%2f/", "/%2574"]
        escapes = [f"%{byte:02x}" for byte in range(256)] + [f"%{byte:02X}" for byte in range(256)]
        for escape in escapes:
            byte = chr(int(escape[1:], 16))
            given.append(b"/" + escape.encode())
            paths.append("/" + (byte if re.match("[0-9A-Za-z._~-]", byte) else escape))
        for target, path in zip(given, paths):
            self.assertEqual(server.parse(TARGET % target), (0, "GET", path, False), target)
            self.assertIs(
                server.parse(TARGET % target), server.parse(TARGET % target)
            )  # remembered

    def test_whether_more_may_come(self) -> None:
        no = (GET, b"\n" + GET, b"GET /a HTTP/1.0\n\n", TARGET % b"http://a/", HOST % (b"a" * 300))
        body = (GET + b"x", GET + GET, LENGTH % b"0", LENGTH % b"3", CODING % b"chunked")
        for request in (*no, *body, b"GET\r\n\r\n", METHOD % b"PUT /"):
            parsed = server.parse(request)
            self.assertIs(parsed and parsed.more_may_come, request not in no, request)

    def test_long_heads_cost_no_time(self) -> None:
        for request in (
            *(HOST % (b" " * 60000 + b"a b"), LENGTH % (b" " * 60000 + b"a")),
            *(TARGET % (b"/" + b"%" * 8000), TARGET % (b"http://" + b"a" * 8000 + b"%")),
            *(CODING % (b"," * 60000), HOST % (b" [" + b":" * 60000 + b"]")),
            *(FIELDS % (b"a:\r\n" * 15000 + b"\0"), b"\r\n" * 32000 + b"("),
        ):
            began = time.process_time()
            self.assertEqual(status_of(request), 400)
            self.assertLess(time.process_time() - began, 1, request[:50])

    def test_the_end_of_a_client_in_mid_head(self) -> None:
        begun = (b"G", b"\r\nGET", GET[:-2], GET[:-1], b"HEAD / HTTP/1.1\r\n")
        with Server() as running:
            for sent in (b"", b"\r", b"\r\n", b"\n\r\n\n", *begun):
                with self.subTest(sent=sent), running.connect(sent) as client:
                    client.shutdown(socket.SHUT_WR)
                    raw = read_all(client)
                    self.assertEqual(parse(raw).status if raw else 0, 400 if sent in begun else 0)
                    self.assertFalse(is_head(sent) and parse(raw).content)
            self.assertEqual(len(running.log()), len(begun))

    def test_a_body_can_be_sent_to_its_end(self) -> None:
        with Server() as running:
            for method, status in ((b"POST", 405), (b"GET", 200), (b"BREW", 501), (b"GET x", 400)):
                request = (LENGTH % b"5000000").replace(b"GET", method)
                with self.subTest(method=method), running.connect(request) as client:
                    for _ in range(50):
                        client.sendall(b"x" * 100_000)
                    self.assertEqual(parse(read_all(client)).status, status)


PAGES = """
def respond(request, asked=[], former=server.respond):
    asked.append(request)
    if request.path == "/bug":
        raise ZeroDivisionError("a bug")
    content = f"{len(asked)}. {request.method} {request.path}\\r\\n\\r\\n".encode()
    text = server.make_response("203 Non", "text/x", content, "Aa: b")
    return {"/": former(request), "/text": text, "/str": "HTTP/1.1 200 OK", "/bytes": b"bytes",
        "/bytearray": bytearray(text), "/int": 1, "/list": [text], "/empty": b""}.get(request.path)
server.respond = respond
"""


class AddedPages(unittest.TestCase):
    """What a program that replaces respond may do, and may do wrong."""

    def test_a_page_made_anew(self) -> None:
        with Server(code=PAGES) as running:
            first, second = (running.ask(TARGET % b"/%74ext?a") for _ in range(2))
            self.assertEqual(parse(second).content, b"2. GET /text\r\n\r\n")
            head = parse(running.ask(b"HEAD /text HTTP/1.0\r\n\r\n"))
            self.assertEqual((head.content, head.fields["content-length"]), (b"", "17"))
            self.assertEqual(parse(running.ask(METHOD % b"POST /text")).status, 405)
            self.assertEqual(parse(running.ask(TARGET % b"/text")).content, b"4. GET /text\r\n\r\n")
            self.assertEqual(running.kill(), "")
        fields = {"content-type": "text/x", "content-length": "16", "aa": "b"}
        self.assertLess(fields.items(), parse(first).fields.items())

    def test_a_page_with_a_bug(self) -> None:
        wrong = b"/bug /none /str /bytes /bytearray /int /list /empty".split()
        with Server(code=PAGES) as running:
            for path in wrong:
                for method, content in ((b"GET ", b"\\A500 .*\n\\Z"), (b"HEAD ", b"\\A\\Z")):
                    response = parse(running.ask(METHOD % (method + path)))
                    self.assertEqual((response.status, path), (500, path))
                    self.assertRegex(response.content, content)
                    self.assertEqual(parse(running.ask()).content, PAGE)
            errors = running.kill()
        self.assertEqual(errors.count("Traceback "), 2 * len(wrong), errors)
        self.assertIn("ZeroDivisionError: a bug\n", errors)
