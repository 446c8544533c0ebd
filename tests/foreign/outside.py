"""What is outside of AWS: the payment provider and the issuer of tokens, both of the local stack."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import processes
import web

HERE = Path(__file__).resolve().parent


class Outside:
    def __init__(self, program, folder):
        self.discovery = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.discovery.serve_forever, daemon=True).start()
        self.issuer = f"http://127.0.0.1:{self.discovery.server_port}"
        log = folder / "outside.log"
        template = HERE / "outside.yaml"
        processes.start([program, "--port", "0", "--template", template, "--parameter", f"JwtIssuer={self.issuer}"], log)
        ready = processes.until("the provider serves", lambda: re.search(r"ready http://(\S+)", log.read_text()), 60)
        self.address = ready[1]
        self.provider = self._control("GET", "provider").text

    def token(self, subject, **claims):
        query = urlencode({"sub": subject, "aud": "payments", **claims})
        return self._control("GET", f"token?{query}").text

    def token_url(self, audience):
        """A template of the URL of a token, for each principal."""
        return f"http://{self.address}/_local/token?aud={audience}&sub={{principal}}"

    def charges(self):
        """What was really charged."""
        return self._control("GET", "charges").json

    def _control(self, method, path):
        answer = web.request(self.address, method, f"/_local/{path}")
        assert answer.status == 200, answer
        return answer

    def _handler(self):
        """The two documents by which an API finds the issuer's keys."""
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                documents = {
                    "/.well-known/openid-configuration":
                        lambda: {"issuer": outside.issuer, "jwks_uri": f"{outside.issuer}/.well-known/jwks.json"},
                    "/.well-known/jwks.json": lambda: outside._control("GET", "jwks.json").json,
                }
                document = documents.get(self.path)
                self.send_response(200 if document else 404)
                self.end_headers()
                self.wfile.write(json.dumps(document() if document else {}).encode())

            def log_message(self, *_):
                pass

        return Handler
