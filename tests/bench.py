"""Measure server.py beside nginx and a bare loop: CPU for each request, as a table in Markdown.

    apt install wrk nginx-light      both are needed, and Linux, for its /proc
    python tests/bench.py            four minutes or less; with --quick, one short round

The servers take turns in each round, so that a busy machine disturbs all of them alike.
"""

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
from statistics import median

HEAD = """GET {path} HTTP/1.1
Host: 127.0.0.1:{port}
Connection: keep-alive
sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/130.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,\
*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
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
error_log nginx.err; events {{ worker_connections 2048; }} http {{ access_log nginx.log;
types {{ text/html html; image/jpeg jpg; }} sendfile on; keepalive_timeout 0;
client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
scgi_temp_path t5; server {{ listen 127.0.0.1:{port}; root "{root}"; }} }}"""
BARE_LOOP = r"""import socket, sys
head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
page, picture = (head % len(c) + c for c in (open(f, "rb").read() for f in sys.argv[2:]))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=socket.SOMAXCONN)
while True:
    client, address = listener.accept()
    try: client.sendall(picture if client.recv(65536).startswith(b"GET /test.jpg") else page)
    except OSError: pass
    client.close()"""
CASES = {  # path, connections, heads, and silent clients, for which a bare loop would wait
    "page, 8 connections": ("/", 8, SAME, 0),
    "page, 512 connections": ("/", 512, SAME, 0),
    "picture, 8 connections": ("/test.jpg", 8, SAME, 0),
    "page, 8 connections, heads that differ": ("/", 8, DIFFERING, 0),
    "page, 8 connections, beside 300 silent ones": ("/", 8, SAME, 300),
}
COMMANDS = {
    "nginx": ["nginx", "-p", ".", "-c", "nginx.conf"],
    "server.py": [sys.executable, "server.py", "{port}"],
    "bare loop": [sys.executable, "-c", BARE_LOOP, "{port}", "index.html", "test.jpg"],
}
Load = tuple[str, int, str, int]
Figures = dict[str, float]  # CPU seconds for a request, requests a second, socket errors


def main() -> None:
    """Start the servers, let them take turns, and print the table."""
    rounds, seconds = (1, 1) if "--quick" in sys.argv else (7, 2)
    os.environ["PATH"] += ":/usr/sbin"  # nginx, for who isn't root
    if not (shutil.which("wrk") and shutil.which("nginx") and os.path.isdir("/proc/self")):
        sys.exit("This needs Linux with wrk and nginx: apt install wrk nginx-light.")
    cores = sorted(os.sched_getaffinity(0))
    results: dict[str, list[dict[str, Figures]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, cores[:1])  # the servers share a core, wrk has the other
        servers = {name: start(name, folder, stack) for name in COMMANDS}
        os.sched_setaffinity(0, cores[1:2] or cores)
        for turn in range(rounds):
            for case, load in CASES.items():
                print(f"round {turn + 1} of {rounds}: {case}", file=sys.stderr)
                names = [*COMMANDS][: 2 if load[3] else 3][:: -1 if turn % 2 else 1]
                figures = {name: measure(servers[name], load, seconds) for name in names}
                results[case].append(figures)
    print(f"Python {sys.version.split()[0]}, {len(cores)} cores, medians of {rounds} rounds.\n")
    print("| | CPU, nginx = 1 | bare loop | requests/s | nginx | socket errors |")
    print("|---" * 6 + "|")
    for case in CASES:
        show(case, results[case])


def start(name: str, folder: str, stack: contextlib.ExitStack) -> "tuple[int, int]":
    """Return pid and port of a server that listens, and that ends with the stack."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for file in ("index.html", "test.jpg", "server.py"):
        shutil.copy(pathlib.Path(__file__).parent.parent / file, folder)
    pathlib.Path(folder, "nginx.conf").write_text(NGINX.format(port=port, root=folder))
    command = [word.format(port=port) for word in COMMANDS[name]]
    with open(f"{folder}/{name}.log", "wb") as log:
        process = stack.enter_context(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
    stack.callback(process.terminate)
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return process.pid, port
        time.sleep(0.1)
    return sys.exit(f"{name} does not start.")


def measure(server: "tuple[int, int]", load: Load, seconds: int) -> Figures:
    """Return what a load by wrk costs a server."""
    (pid, port), (path, connections, script, silent) = server, load
    with contextlib.ExitStack() as stack, tempfile.NamedTemporaryFile("w") as file:
        print(script % json.dumps(HEAD.format(path=path, port=port)), file=file, flush=True)
        for _ in range(silent):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        before = cpu_seconds(pid)
        options = f"-t1 -c{connections} -d{seconds}s -s {file.name} http://127.0.0.1:{port}{path}"
        report = subprocess.getoutput(f"wrk {options}")
    used = cpu_seconds(pid) - before
    requests = int(re.findall(r"(\d+) requests in", report)[0])
    errors = re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", report)
    return {"cpu": used / requests, "rate": requests / seconds, "errors": sum(map(int, errors))}


def cpu_seconds(pid: int) -> float:
    """Return the time that a process has computed, its system calls included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(case: str, rounds: "list[dict[str, Figures]]") -> None:
    """Print a row: medians of ratios and of rates, and the errors of server.py in all rounds."""
    texts = []
    for name in ("server.py", "bare loop"):
        ratios = [each[name]["cpu"] / each["nginx"]["cpu"] for each in rounds if name in each]
        texts.append(f"{median(ratios):.2f}" if ratios else "-")
    rates = [median(each[name]["rate"] for each in rounds) for name in ("server.py", "nginx")]
    errors = sum(each["server.py"]["errors"] for each in rounds)
    print(f"| {case} | {' | '.join(texts)} | {rates[0]:,.0f} | {rates[1]:,.0f} | {errors:.0f} |")


if __name__ == "__main__":
    main()
