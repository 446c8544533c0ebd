"""The same work with Powertools for AWS Lambda (Python), in the form that its documentation shows."""

import json
import os
import time

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)

effects = boto3.client("dynamodb")
store = DynamoDBPersistenceLayer(table_name=os.environ["RECORDS_TABLE"])
request_config = IdempotencyConfig(
    event_key_jmespath='[headers."idempotency-key", requestContext.authorizer.jwt.claims.sub]',
    payload_validation_jmespath="body",
    raise_on_no_idempotency_key=True,
    expires_after_seconds=86_400,
    use_local_cache=True,
)
message_config = IdempotencyConfig(event_key_jmespath="key", expires_after_seconds=86_400, use_local_cache=True)
processor = BatchProcessor(event_type=EventType.SQS)


def handler(event, context):
    if os.environ["MODE"] == "batch":
        message_config.register_lambda_context(context)
        return process_partial_response(event=event, record_handler=message, processor=processor, context=context)
    try:
        return request(event, context)
    except IdempotencyAlreadyInProgressError:
        return reply(409, {"error": "in progress"})
    except IdempotencyValidationError:
        return reply(422, {"error": "another request"})


@idempotent(config=request_config, persistence_store=store)
def request(event, context):
    if event["headers"]["x-hold"] == "true":
        time.sleep(3600)
    return carry_out(event["headers"]["idempotency-key"], json.loads(event["body"]))


def message(record: SQSRecord):
    order = json.loads(record.body)
    post(order=order)


@idempotent_function(data_keyword_argument="order", config=message_config, persistence_store=store)
def post(order):
    return carry_out(order["key"], order)


def carry_out(key, order):
    if order["amount"] < 0:
        return reply(402, {"error": "declined"})
    if order["effect"]:
        effects.put_item(TableName=os.environ["EFFECTS_TABLE"], Item={"id": {"S": key}})
    return reply(201, {"id": "order-1", "amount": order["amount"], "lines": lines(order["answer_bytes"])})


def lines(answer_bytes):
    lines, length, number = [], 0, 1
    while length + 40 < answer_bytes:
        number = (number * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        lines.append({"item": f"{number:016x}", "price": number >> 44})
        length += len(json.dumps(lines[-1], separators=(",", ":"))) + 1
    return lines


def reply(status, body):
    text = json.dumps(body, separators=(",", ":"))
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": text}
