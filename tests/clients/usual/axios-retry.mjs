import axios from "axios";
import axiosRetry from "axios-retry";

const client = axios.create();
axiosRetry(client, { retries: 4, retryCondition: axiosRetry.isRetryableError });

export async function post(url, headers, body, timeout) {
  const { status, data } = await client.post(url, body, { headers, timeout });
  return [status, data];
}
