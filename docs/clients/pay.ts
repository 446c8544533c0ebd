// Makes one payment, and ends knowing whether it was made: TOKEN=… node pay.ts URL ORDER BODY. Needs Node 22.18 and got.
//
// ORDER names the decision to pay; the key is derived from it. So you may interrupt this script, and run it again with the
// same ORDER and BODY until 24 hours after it ended. It pays once. Another attempt after a refusal is another ORDER.
//
// Exit codes: 0 paid. 1 not charged, and not under this ORDER. 2 wrong arguments. 3 not known: run it again.

import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import got, { RequestError, type Response } from "got";

const TIMEOUT_S = 35, TRIES = 8, LONGEST_PAUSE_S = 30, LONGEST_RETRY_AFTER_S = 300;
// They refuse this request only: an earlier one under the key may have charged.
const REFUSES_THIS_REQUEST = ["missing-key", "invalid-key", "missing-value", "missing-principal", "content-too-large",
  "fingerprint-mismatch", "answer-unreadable"];

async function main([url = "", order = "", body = ""]: string[], token = ""): Promise<never> {
  if (!URL.canParse(url) || !order || !body || !token) end(2, "usage: TOKEN=… pay.ts URL ORDER BODY");
  const headers = {
    authorization: `Bearer ${token}`,
    "idempotency-key": `"${createHash("sha256").update(`POST /payments ${order}`).digest("hex")}"`,
    "content-type": "application/json",
  };
  for (let attempt = 0; ; attempt += 1) {
    let after = 0, what = "";
    try {
      const answer = await got.post(url, {
        headers, body, timeout: { request: TIMEOUT_S * 1000 }, retry: { limit: 0 }, throwHttpErrors: false, followRedirect: false,
      });
      judge(answer);
      after = retryAfter(answer.headers["retry-after"] ?? "");
      what = `the answer was ${answer.statusCode}`;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      what = `no answer: ${error.code}`; // No whole answer: anything may have happened.
    }
    if (after > LONGEST_RETRY_AFTER_S || attempt + 1 === TRIES) end(3, `not known (${what}): run this again later`);
    await sleep(Math.max(after, Math.min(2 ** attempt, LONGEST_PAUSE_S)) * 1000);
  }
}

/** Ends the script if the answer is final, or if the same request would be refused again. */
function judge({ statusCode, headers, body }: Response<string>) {
  const content = jsonObject(body);
  const isProblem = headers["content-type"]?.startsWith("application/problem+json") && "code" in content;
  const problem = isProblem ? content : {};
  const recorded = headers["idempotency-replayed"] === "true";
  if (statusCode >= 200 && statusCode < 300 && ("id" in content || recorded)) end(0, "paid", body);
  if (recorded) end(1, `not charged: ${statusCode}`, body);
  if ([408, 425, 429].includes(statusCode) || problem.retryable === true) return;
  if (problem.retryable === false && !REFUSES_THIS_REQUEST.includes(String(problem.code))) {
    end(1, `not charged: ${problem.code}`, body);
  }
  if (isProblem || (statusCode >= 400 && statusCode < 500)) {
    end(3, `not known (this request was refused: ${problem.code ?? statusCode}): correct that and run this again`, body);
  }
}

function jsonObject(text: string): Record<string, unknown> {
  try {
    const content: unknown = JSON.parse(text);
    return content instanceof Object ? { ...content } : {};
  } catch {
    return {};
  }
}

/** `Retry-After` in seconds: a number of seconds, or the time until a date. Anything else counts as none. */
function retryAfter(text: string): number {
  if (/^[0-9]+$/.test(text)) return Number(text);
  return text.endsWith("GMT") ? (Date.parse(text) - Date.now()) / 1000 || 0 : 0;
}

function end(code: number, message: string, content = ""): never {
  if (content) console.log(content);
  console.error(message);
  process.exit(code);
}

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => end(3, "not known (interrupted): run this again"));
await main(process.argv.slice(2), process.env.TOKEN);
