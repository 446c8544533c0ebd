import ky from "ky";

export async function post(url, headers, body, timeout) {
  const answer = await ky.post(url, { headers, body, timeout, retry: { limit: 4, methods: ["post"] } });
  return [answer.status, await answer.text()];
}
