"""Sends requests through the `post` of a module: run.py MODULE.

Prints `ready` when the module is loaded. Each line of standard input is a list of requests, which are sent all at a time.
Prints a line of JSON for each of them when it ends.
"""

import asyncio
import importlib.util
import inspect
import json
import random
import sys
import threading
import time


def load(file):
    spec = importlib.util.spec_from_file_location("client", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.post


def send(post, request):
    started = time.monotonic()
    # Without a time-out, the module's own.
    own = {"timeout": request["timeout"]} if request["timeout"] else {}
    ending = {"name": request["name"], "status": None, "body": "", "error": ""}
    try:
        answer = post(request["url"], request["headers"], request["body"], **own)
        ending["status"], ending["body"] = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
    except Exception as error:  # What the caller of a library would see.
        ending["error"] = f"{type(error).__name__}: {error}"
    # In one write: other requests end at the same time.
    sys.stdout.write(json.dumps({**ending, "seconds": time.monotonic() - started}) + "\n")
    sys.stdout.flush()


def serve(post):
    print("ready", flush=True)
    for requests in sys.stdin:
        for one in json.loads(requests):
            threading.Thread(target=send, args=(post, one)).start()


if __name__ == "__main__":
    random.seed(0)  # The same pauses in each run: with full jitter, even five tries may be over at once.
    serve(load(sys.argv[1]))
