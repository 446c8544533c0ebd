"""What is outside of AWS: the payment provider and the issuer of tokens, both of the local stack."""

import re
from pathlib import Path
from urllib.parse import urlencode

import processes
import web

HERE = Path(__file__).resolve().parent


class Outside:
    def __init__(self, program, folder):
        log = folder / "outside.log"
        template = HERE / "outside.yaml"
        processes.start([program, "--port", "0", "--template", template], log)
        ready = processes.until("the provider serves", lambda: re.search(r"ready http://(\S+)", log.read_text()), 60)
        self.address = ready[1]
        self.issuer = f"http://localhost:{self.address.rpartition(':')[2]}/_local/issuer"
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
