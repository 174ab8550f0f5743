"""A stand-in for the agent, for tests of the stage alone: it answers on the listening socket it is given."""

from __future__ import annotations

import argparse
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    """200 with the agent's directory, to anything."""

    def do_GET(self) -> None:
        body = str(Path.cwd()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--fd", type=int)
    told = parser.parse_args()
    server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=told.fd)
    print("serving", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
