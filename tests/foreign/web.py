"""Requests over HTTP, to a host whose name no resolver knows."""

import http.client
import json
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


def request(address, method, path, *, host=None, headers=None, body=None, timeout=60):
    """Sends one request to `host:port`, or `https://host`, and returns the answer; header names are in lower case."""
    kind = http.client.HTTPSConnection if address.startswith("https://") else http.client.HTTPConnection
    connection = kind(address.removeprefix("https://"), timeout=timeout)
    if isinstance(body, (dict, list)):
        body, headers = json.dumps(body), {"content-type": "application/json", **(headers or {})}
    try:
        connection.request(method, path, body=body, headers={"host": host or address, **(headers or {})})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()
