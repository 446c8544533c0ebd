import { Agent, RetryAgent, request } from "undici";

const dispatcher = new RetryAgent(new Agent(), { maxRetries: 4, methods: ["POST"] });

export async function post(url, headers, body, timeout) {
  const answer = await request(url, { dispatcher, method: "POST", headers, body, headersTimeout: timeout });
  return [answer.statusCode, await answer.body.text()];
}
