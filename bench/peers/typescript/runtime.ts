// A client of the Runtime API. AWS's own client is part of the managed runtime, and its npm package compiles C++ on
// install.

import { Agent, type IncomingMessage, request } from 'node:http';
import { handler } from './app';

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const [host, port] = (process.env.AWS_LAMBDA_RUNTIME_API as string).split(':');

function call(method: string, path: string, body?: string): Promise<{ response: IncomingMessage; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const sent = request({ host, port, agent, method, path: `/2018-06-01/runtime/${path}`, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ response, text: Buffer.concat(parts).toString() }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function serve() {
  for (;;) {
    const { response, text } = await call('GET', 'invocation/next');
    const awsRequestId = response.headers['lambda-runtime-aws-request-id'] as string;
    const deadline = Number(response.headers['lambda-runtime-deadline-ms']);
    const context = { awsRequestId, getRemainingTimeInMillis: () => deadline - Date.now() };
    try {
      const answer = await handler(JSON.parse(text), context);
      await call('POST', `invocation/${awsRequestId}/response`, JSON.stringify(answer));
    } catch (error) {
      const { name, message } = error as Error;
      const problem = JSON.stringify({ errorType: name, errorMessage: message });
      await call('POST', `invocation/${awsRequestId}/error`, problem);
    }
  }
}

serve();
