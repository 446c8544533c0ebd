// The same work with Powertools for AWS Lambda (TypeScript), in the form that its documentation shows.

import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import {
  IdempotencyAlreadyInProgressError,
  IdempotencyConfig,
  IdempotencyValidationError,
  makeIdempotent,
} from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';

type Order = { amount: number; effect: boolean; answer_bytes: number; key: string };

const client = new DynamoDBClient({});
const persistenceStore = new DynamoDBPersistenceLayer({
  tableName: process.env.RECORDS_TABLE as string,
  awsSdkV3Client: client,
});
const requestConfig = new IdempotencyConfig({
  eventKeyJmesPath: '[headers."idempotency-key", requestContext.authorizer.jwt.claims.sub]',
  payloadValidationJmesPath: 'body',
  throwOnNoIdempotencyKey: true,
  expiresAfterSeconds: 86_400,
  useLocalCache: true,
});
const messageConfig = new IdempotencyConfig({
  eventKeyJmesPath: 'key',
  expiresAfterSeconds: 86_400,
  useLocalCache: true,
});
const processor = new BatchProcessor(EventType.SQS);

const request = makeIdempotent(
  async (event: any, _context: any) => {
    if (event.headers['x-hold'] === 'true') await new Promise(() => {});
    return carryOut(event.headers['idempotency-key'], JSON.parse(event.body));
  },
  { persistenceStore, config: requestConfig },
);

const post = makeIdempotent(async (order: Order) => carryOut(order.key, order), {
  persistenceStore,
  config: messageConfig,
  dataIndexArgument: 0,
});

export const handler = async (event: any, context: any) => {
  if (process.env.MODE === 'batch') {
    messageConfig.registerLambdaContext(context);
    const message = async (record: any) => {
      await post(JSON.parse(record.body));
    };
    return processPartialResponse(event, message, processor, { context });
  }
  try {
    return await request(event, context);
  } catch (error) {
    if (error instanceof IdempotencyAlreadyInProgressError) return reply(409, { error: 'in progress' });
    if (error instanceof IdempotencyValidationError) return reply(422, { error: 'another request' });
    throw error;
  }
};

async function carryOut(key: string, order: Order) {
  if (order.amount < 0) return reply(402, { error: 'declined' });
  if (order.effect) {
    await client.send(new PutItemCommand({ TableName: process.env.EFFECTS_TABLE, Item: { id: { S: key } } }));
  }
  return reply(201, { id: 'order-1', amount: order.amount, lines: lines(order.answer_bytes) });
}

function lines(answerBytes: number) {
  const lines: object[] = [];
  let length = 0;
  let number = 1n;
  while (length + 40 < answerBytes) {
    number = BigInt.asUintN(64, number * 6364136223846793005n + 1442695040888963407n);
    const line = { item: number.toString(16).padStart(16, '0'), price: Number(number >> 44n) };
    length += JSON.stringify(line).length + 1;
    lines.push(line);
  }
  return lines;
}

function reply(status: number, body: object) {
  return { statusCode: status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}
