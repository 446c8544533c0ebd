import fetchRetry from "fetch-retry";

const fetchWithRetries = fetchRetry(fetch, { retries: 4, retryOn: [429, 500, 502, 503, 504] });

export async function post(url, headers, body, timeout) {
  const signal = timeout ? AbortSignal.timeout(timeout) : undefined;
  const answer = await fetchWithRetries(url, { method: "POST", headers, body, signal });
  return [answer.status, await answer.text()];
}
