import got from "got";

export async function post(url, headers, body, timeout) {
  const retry = { limit: 4, methods: ["POST"] };
  const answer = await got.post(url, { headers, body, retry, timeout: { request: timeout } });
  return [answer.statusCode, answer.body];
}
