"""Powertools' idempotency on DynamoDB, as published: a function that another one takes over from.

`dynamodb.py URL REGION SETTINGS` reads commands from its input, one JSON document a line, and answers each with a line.
"""

import json
import logging
import os
import sys
import threading
import warnings

os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
os.environ["AWS_LAMBDA_FUNCTION_NAME"] = "pay"

import boto3
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

URL, REGION, SETTINGS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
CLIENT = boto3.client("dynamodb", endpoint_url=URL, region_name=REGION)


class Context:
    """Lambda's context of an invocation that ends in this time."""

    def __init__(self, remaining_ms):
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self):
        return self.remaining_ms


def sandbox(run, remaining_ms):
    """The protected function in a sandbox of its own."""
    config = IdempotencyConfig(
        event_key_jmespath=SETTINGS.get("key", ""),
        payload_validation_jmespath=SETTINGS.get("validation", ""),
        hash_function=SETTINGS.get("hash", "md5"),
        expires_after_seconds=SETTINGS.get("expires_after_seconds", 3600),
    )
    if remaining_ms is not None:
        config.register_lambda_context(Context(remaining_ms))
    layer = DynamoDBPersistenceLayer(
        table_name=SETTINGS.get("table", "Old"),
        key_attr=SETTINGS.get("key_attr", "id"),
        sort_key_attr=SETTINGS.get("sort_key_attr"),
        boto3_client=CLIENT,
    )

    def place(order):
        return run()

    # As if it were decorated in a module `app`.
    place.__module__, place.__qualname__ = "app", "place"
    decorated = idempotent_function(place, data_keyword_argument="order", persistence_store=layer, config=config)
    return layer, lambda order: decorated(order=order)


def place(command, run=None):
    ran = []

    def once():
        ran.append(True)
        return run() if run else command.get("answer")

    _, protected = sandbox(once, command.get("remaining_ms", 60_000))
    try:
        return {"answer": protected(command["order"]), "ran": bool(ran)}
    except Exception as error:
        return {"error": type(error).__name__, "ran": bool(ran)}


def refuse():
    raise ValueError("refused")


class Killed(BaseException):
    """Passes through Powertools as the end of a sandbox does: nothing is written any more."""


def die():
    raise Killed


def hold(command):
    """Runs until `go`; the answer to this command is that it runs."""
    runs, go, answers = threading.Event(), threading.Event(), []

    def run():
        runs.set()
        go.wait(60)
        return command.get("answer")

    thread = threading.Thread(target=lambda: answers.append(place(command, run)))
    thread.start()
    if not runs.wait(20):
        return {"error": "it does not run"}, None
    return {"runs": True}, lambda: (go.set(), thread.join(60), answers[0])[2]


def ids(values):
    layer, protected = sandbox(lambda: None, 60_000)
    protected({"id": "configures the layer"})
    return [layer._get_hashed_idempotency_key(value) for value in values]


finish = None
for line in sys.stdin:
    command = json.loads(line)
    match command["do"]:
        case "place":
            answer = place(command)
        case "refuse":
            answer = place(command, refuse)
        case "die":
            try:
                answer = place(command, die)
            except Killed:
                answer = {"died": True}
        case "hold":
            answer, finish = hold(command)
        case "go":
            answer = finish()
        case "ids":
            answer = {"ids": ids(command["values"])}
    print(json.dumps(answer), flush=True)
