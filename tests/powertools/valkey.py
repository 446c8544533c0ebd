"""Powertools' idempotency layer for Redis and Valkey, as published, on a real server.

`valkey.py PORT behaviour` prints what it does as JSON; `valkey.py PORT figures COUNT` prints what it costs.
"""

import json
import logging
import sys
import threading
import time
import warnings

import redis
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

PORT = int(sys.argv[1])
SERVER = redis.Redis(port=PORT)


class Context:
    """Lambda's context of an invocation that ends soon."""

    def __init__(self, remaining_ms):
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self):
        return self.remaining_ms


def process(run, remaining_ms=10_000):
    """The protected function of another process: it has a layer, and so a connection, of its own."""
    config = IdempotencyConfig(expires_after_seconds=3600)
    config.register_lambda_context(Context(remaining_ms))
    layer = CachePersistenceLayer(client=redis.Redis(port=PORT))

    @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config)
    def place(order):
        return run()

    return lambda order: place(order=order)


def commands(action):
    """The names of the commands that an action sends."""
    names = []
    with SERVER.monitor() as monitor:
        done = threading.Event()

        def listen():
            for command in monitor.listen():
                name = command["command"].split()[0].upper()
                if name == "ECHO":
                    break
                if name not in ("CLIENT", "HELLO", "INFO", "PING", "SELECT"):
                    names.append(name)
            done.set()

        listener = threading.Thread(target=listen)
        listener.start()
        time.sleep(0.2)
        action()
        SERVER.echo("end")
        done.wait(10)
    return names


def late_owner():
    """A is frozen past its deadline, B takes over and completes, and then A goes on."""
    answers = {}

    def frozen():
        time.sleep(0.3)
        answers["B"] = process(lambda: "B")("late")
        answers["before"] = process(lambda: "nobody")("late")
        return "A"

    answers["A"] = process(frozen, remaining_ms=100)("late")
    answers["after"] = process(lambda: "nobody")("late")
    return answers


def in_progress_time_to_live():
    """The seconds after which the server forgets a record while its operation runs."""
    left = []

    def run():
        left.extend(SERVER.ttl(key) for key in SERVER.keys("*"))
        return "done"

    SERVER.flushall()
    process(run)("time to live")
    return left


def owner_in_record():
    """The fields of a record while its operation runs."""
    fields = []

    def run():
        for key in SERVER.keys("*"):
            fields.extend(json.loads(SERVER.get(key)))
        return "done"

    SERVER.flushall()
    process(run)("owner")
    return sorted(fields)


def takeover():
    """The commands of a call that finds a record whose owner's time is over."""

    def dies():
        raise SystemExit

    try:
        process(dies, remaining_ms=50)("takeover")
    except SystemExit:
        pass
    time.sleep(0.1)
    return commands(lambda: process(lambda: "second")("takeover"))


def behaviour():
    first = process(lambda: "done")
    return {
        "first_run": commands(lambda: first("trips")),
        "replay": commands(lambda: process(lambda: "again")("trips")),
        "takeover": takeover(),
        "late_owner": late_owner(),
        "in_progress_time_to_live": in_progress_time_to_live(),
        "record": owner_in_record(),
    }


def figures(count):
    place = process(lambda: {"status": "placed"})
    place("warm")
    times, cpu = [], time.process_time()
    for number in range(count):
        began = time.perf_counter()
        place(f"order {number}")
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    cpu_s = time.process_time() - cpu
    return {"p50_ms": times[count // 2], "p99_ms": times[count * 99 // 100], "cpu_s_per_1000": cpu_s * 1000 / count}


print(json.dumps(behaviour() if sys.argv[2] == "behaviour" else figures(int(sys.argv[3]))))
