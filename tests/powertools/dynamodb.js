// Powertools' idempotency on DynamoDB, as published: a function that another one takes over from.
//
// `dynamodb.js URL REGION SETTINGS` reads commands from its input, one JSON document a line, and answers each with a line.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

process.env.AWS_LAMBDA_FUNCTION_NAME = 'pay';
console.warn = () => {};

// The packages are not beside this file, but in the folder from which it is run.
const from = createRequire(pathToFileURL(`${process.cwd()}/package.json`));
const { IdempotencyConfig, makeIdempotent } = from('@aws-lambda-powertools/idempotency');
const { DynamoDBPersistenceLayer } = from('@aws-lambda-powertools/idempotency/dynamodb');
const { DynamoDBClient } = from('@aws-sdk/client-dynamodb');

const [endpoint, region] = process.argv.slice(2);
const settings = JSON.parse(process.argv[4]);
const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
const awsSdkV3Client = new DynamoDBClient({ endpoint, region, credentials });

// The protected function in a sandbox of its own.
function sandbox(run, remainingMs) {
  const config = new IdempotencyConfig({
    eventKeyJmesPath: settings.key ?? '',
    payloadValidationJmesPath: settings.validation,
    hashFunction: settings.hash ?? 'md5',
    expiresAfterSeconds: settings.expires_after_seconds ?? 3600,
  });
  config.registerLambdaContext({ getRemainingTimeInMillis: () => remainingMs });
  const persistenceStore = new DynamoDBPersistenceLayer({
    tableName: settings.table ?? 'Old',
    keyAttr: settings.key_attr,
    sortKeyAttr: settings.sort_key_attr,
    awsSdkV3Client,
  });
  return [persistenceStore, makeIdempotent(run, { persistenceStore, config, dataIndexArgument: 0 })];
}

async function place(command, run) {
  let ran = false;
  const once = async () => {
    ran = true;
    return run ? await run() : command.answer;
  };
  const [, protectedPlace] = sandbox(once, command.remaining_ms ?? 60_000);
  try {
    return { answer: (await protectedPlace(command.order)) ?? null, ran };
  } catch (error) {
    return { error: error.constructor.name, ran };
  }
}

// Never ends, as a sandbox that is killed does not.
function die(command) {
  return new Promise((resolve) => {
    place(command, () => {
      resolve({ died: true });
      return new Promise(() => {});
    });
  });
}

let finish;
function hold(command) {
  return new Promise((resolve) => {
    const answer = place(command, () => {
      resolve({ runs: true });
      return new Promise((go) => {
        finish = () => {
          go(command.answer);
          return answer;
        };
      });
    });
    answer.then(resolve);
  });
}

async function ids(values) {
  const [layer, protectedPlace] = sandbox(async () => null, 60_000);
  await protectedPlace({ id: 'configures the layer' });
  return values.map((value) => layer.getHashedIdempotencyKey(value));
}

function refuse() {
  throw new RangeError('refused');
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const actions = {
    place: () => place(command),
    refuse: () => place(command, refuse),
    die: () => die(command),
    hold: () => hold(command),
    go: () => finish(),
    ids: async () => ({ ids: await ids(command.values) }),
  };
  console.log(JSON.stringify(await actions[command.do]()));
}
process.exit(0);
