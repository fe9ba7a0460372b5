"""Measure what a request costs server.py, beside other servers: tables in Markdown.

    apt install wrk nginx-light      both are needed, and Linux, for its /proc
    python tests/bench.py            about five minutes; with --quick, one short round

All servers share one processor core, and wrk, which asks, has another. They take turns
in each round, so that a busy machine disturbs all of them alike, and each writes a log.
lighttpd, darkhttpd and node take part where they are installed, uvicorn where PyPI can
be reached.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from statistics import median
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = """GET {path} HTTP/1.1
Host: 127.0.0.1:{port}
Connection: keep-alive
sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/130.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
""".replace("\n", "\r\n")  # as Chrome sends it; the empty line at its end comes later
SAME = r'wrk.format = function() return %s .. "\r\n" end'
DIFFERING = r"""n = 0 function request() n = n + 1
return %s .. "X-Request: " .. n .. "\r\n\r\n" end"""

NGINX = """daemon off; master_process off; worker_rlimit_nofile 4096; pid nginx.pid;
error_log nginx.err; events { worker_connections 2048; } http { access_log nginx.log;
types { text/html html; image/jpeg jpg; } sendfile on; keepalive_timeout 0;
client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
scgi_temp_path t5; server { listen 127.0.0.1:PORT; root "FOLDER"; } }"""
LIGHTTPD = """server.document-root = "FOLDER"
server.bind = "127.0.0.1" server.port = PORT
server.modules = ("mod_accesslog") accesslog.filename = "FOLDER/lighttpd.access"
server.max-keep-alive-requests = 0 index-file.names = ("index.html")
mimetype.assign = (".html" => "text/html", ".jpg" => "image/jpeg")"""
UVICORN = """
names = {"/": "index.html", "/test.jpg": "test.jpg"}
files = {path: open(name, "rb").read() for path, name in names.items()}
async def app(scope, receive, send):
    content = files[scope["path"]]
    length = (b"content-length", b"%d" % len(content))
    headers = [length, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
"""
NODE = """
const fs = require("fs"), http = require("http");
const page = fs.readFileSync("index.html"), picture = fs.readFileSync("test.jpg");
http.createServer((request, response) => {
    response.writeHead(200, {"Connection": "close"});
    response.end(request.url == "/test.jpg" ? picture : page);
    console.log(request.socket.remoteAddress, request.method, request.url);
}).listen(PORT, "127.0.0.1");
"""
BARE_LOOP = r"""
import socket, sys
head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
files = [open(name, "rb").read() for name in ("index.html", "test.jpg")]
page, picture = [head % len(content) + content for content in files]
listener = socket.create_server(("127.0.0.1", PORT), backlog=socket.SOMAXCONN)
while True:
    client, address = listener.accept()
    try:
        asked = client.recv(65536)
        client.sendall(picture if asked.startswith(b"GET /test.jpg") else page)
    except OSError:
        pass
    client.close()
"""


class Peer(NamedTuple):
    """A server: the command that starts it, and the file that the command needs."""

    command: str
    file: str = ""
    text: str = ""


PEERS = {
    "nginx": Peer("nginx -p . -c nginx.conf", "nginx.conf", NGINX),
    "server.py": Peer("PYTHON server.py PORT"),
    "bare loop": Peer("PYTHON bare.py", "bare.py", BARE_LOOP),
    "lighttpd": Peer("lighttpd -D -f lighttpd.conf", "lighttpd.conf", LIGHTTPD),
    "darkhttpd": Peer("darkhttpd . --port PORT --addr 127.0.0.1"),
    "uvicorn": Peer("VENV/bin/uvicorn --port PORT files:app", "files.py", UVICORN),
    "node": Peer("node files.js", "files.js", NODE),
    "http.server": Peer("PYTHON -m http.server --bind 127.0.0.1 PORT"),
}


class Case(NamedTuple):
    """What wrk asks for, on how many connections, beside how many silent clients."""

    path: str = "/"
    connections: int = 8
    script: str = SAME
    silent: int = 0  # a bare loop would wait for them, and serve nobody


CASES = {
    "page, 8 connections": Case(),
    "page, 512 connections": Case(connections=512),
    "picture, 8 connections": Case("/test.jpg"),
    "page, 8 connections, heads that differ": Case(script=DIFFERING),
    "page, 8 connections, beside 300 silent ones": Case(silent=300),
}
FIRST = "page, 8 connections"  # the case in which all peers take part


class Figures(NamedTuple):
    """What a load has cost."""

    cpu: float  # seconds a request, system calls included
    rate: float  # requests a second
    errors: int  # of sockets, seen by wrk


class Server(NamedTuple):
    """A peer that runs."""

    pid: int
    port: int


def main() -> None:
    """Start the servers, let them take turns, and print the tables."""
    parser = argparse.ArgumentParser(description="Measure server.py beside others.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    rounds, seconds = (1, 1) if parser.parse_args().quick else (7, 2)
    os.environ["PATH"] += ":/usr/sbin"  # where nginx is, for who isn't root
    if not (has("wrk") and has("nginx") and os.path.isdir("/proc/self")):
        sys.exit("This needs Linux with wrk and nginx: apt install wrk nginx-light.")
    cores = sorted(os.sched_getaffinity(0))
    results: dict[str, list[dict[str, Figures]]] = {case: [] for case in CASES}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.sched_setaffinity(0, cores[:1])
        servers = {
            name: start(name, folder, stack) for name in PEERS if can(name, folder)
        }
        os.sched_setaffinity(0, cores[1:2] or cores)
        for turn in range(rounds):
            for case in CASES:
                print(f"round {turn + 1} of {rounds}: {case}", file=sys.stderr)
                results[case].append(one_round(servers, case, turn, seconds))
    version = sys.version.split()[0]
    print(f"Python {version}, {len(cores)} cores, medians of {rounds} rounds.\n")
    show_cases(results)
    show_peers(results[FIRST])


def has(program: str) -> bool:
    """Return whether a program is installed."""
    return shutil.which(program) is not None


def can(name: str, folder: str) -> bool:
    """Return whether a peer can be started here; uvicorn is installed for it."""
    if name != "uvicorn":
        program = PEERS[name].command.split()[0]
        return program == "PYTHON" or has(program)
    try:
        venv.create(f"{folder}/venv", with_pip=True)
        install = [f"{folder}/venv/bin/pip", "install", "-qq", "uvicorn[standard]"]
        return subprocess.run(install, capture_output=True).returncode == 0
    except (OSError, subprocess.CalledProcessError):
        return False


def start(name: str, folder: str, stack: contextlib.ExitStack) -> Server:
    """Return a peer that listens, and that ends with the stack."""
    home = pathlib.Path(folder, name)
    home.mkdir()
    for file in ("index.html", "test.jpg", "server.py"):
        shutil.copy(ROOT / file, home)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = {"PYTHON": sys.executable, "PORT": str(port), "FOLDER": str(home)}
    words["VENV"] = f"{folder}/venv"
    peer = PEERS[name]
    if peer.file:
        (home / peer.file).write_text(fill(peer.text, words))
    command = [fill(word, words) for word in peer.command.split()]
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    stack.enter_context(process)
    stack.callback(process.terminate)
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return Server(process.pid, port)
        time.sleep(0.1)
    sys.exit(f"{name} does not start: {(home / 'log').read_text()}")


def fill(text: str, words: dict[str, str]) -> str:
    """Return a text with the words in capitals replaced."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def one_round(
    servers: dict[str, Server], case: str, turn: int, seconds: int
) -> dict[str, Figures]:
    """Return the figures of each server that takes part in a case."""
    names = [*servers] if case == FIRST else ["nginx", "server.py", "bare loop"]
    if CASES[case].silent:
        names.remove("bare loop")
    if turn % 2:
        names.reverse()
    return {name: measure(servers[name], CASES[case], seconds) for name in names}


def measure(server: Server, case: Case, seconds: int) -> Figures:
    """Return what a load by wrk costs a server."""
    head = json.dumps(HEAD.format(path=case.path, port=server.port))
    url = f"http://127.0.0.1:{server.port}{case.path}"
    with contextlib.ExitStack() as stack:
        script = stack.enter_context(tempfile.NamedTemporaryFile("w"))
        print(case.script % head, file=script, flush=True)
        for _ in range(case.silent):
            silent = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(silent)
        before = cpu_seconds(server.pid)
        options = f"-t1 -c{case.connections} -d{seconds}s -s {script.name}"
        report = subprocess.getoutput(f"wrk {options} {url}")
    used = cpu_seconds(server.pid) - before
    requests = int(re.findall(r"(\d+) requests in", report)[0])
    errors = re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", report)
    return Figures(used / requests, requests / seconds, sum(map(int, errors)))


def cpu_seconds(pid: int) -> float:
    """Return the time that a process has computed, its system calls included."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show_cases(results: dict[str, list[dict[str, Figures]]]) -> None:
    """Print server.py and the bare loop beside nginx, for each kind of request."""
    print("| | CPU, nginx = 1 | bare loop | requests/s | nginx | socket errors |")
    print("|---" * 6 + "|")
    for case, rounds in results.items():
        costs = [ratio(rounds, name) for name in ("server.py", "bare loop")]
        rates = [rate(rounds, name) for name in ("server.py", "nginx")]
        errors = sum(each["server.py"].errors for each in rounds)
        print("|", " | ".join([case, *costs, *rates, str(errors)]), "|")


def show_peers(rounds: list[dict[str, Figures]]) -> None:
    """Print all servers beside nginx, for the page on 8 connections."""
    print("\n| | CPU, nginx = 1 | requests/s |")
    print("|---" * 3 + "|")
    for name in sorted(rounds[0], key=lambda name: float(ratio(rounds, name))):
        print(f"| {name} | {ratio(rounds, name)} | {rate(rounds, name)} |")


def ratio(rounds: list[dict[str, Figures]], name: str) -> str:
    """Return the median of a server's CPU beside nginx's, round by round."""
    if name not in rounds[0]:
        return "-"
    return f"{median(each[name].cpu / each['nginx'].cpu for each in rounds):.2f}"


def rate(rounds: list[dict[str, Figures]], name: str) -> str:
    """Return the median of a server's requests a second."""
    return f"{median(each[name].rate for each in rounds):,.0f}"


if __name__ == "__main__":
    main()
