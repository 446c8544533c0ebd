// Makes one payment, however often it has to repeat the request: node pay.ts URL TOKEN BODY [KEY]. Node 22.18 or later, a
// browser, Deno or Bun; nothing to install. Every type is inferred, so the file is also JavaScript: as pay.mjs it runs on
// Node 18.

/** Repeats the same bytes under the same key until the answer is final. */
export async function sendUntilFinal(url = "", token = "", body = "", key = "") {
  for (let pause = 1; ; pause = Math.min(pause * 2, 30)) {
    let after = null;
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: {
          Authorization: `Bearer ${token}`,
          "Idempotency-Key": `"${key}"`,
          "Content-Type": "application/json",
        },
        body,
        signal: AbortSignal.timeout(40_000),
      });
      const content = await answer.text();
      if (answer.status < 500 && !isRetryable(content)) return { status: answer.status, content };
      after = answer.headers.get("Retry-After");
    } catch {
      // No answer at all: anything may have happened.
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(after) || pause)));
  }
}

function isRetryable(content = "") {
  try {
    return JSON.parse(content)?.retryable === true;
  } catch {
    return false;
  }
}

if (typeof process === "object" && process.argv[2]) {
  const [url, token, body, key] = process.argv.slice(2);
  // One key per decision. To repeat the request after a crash of this script, pass the key that it used.
  const { status, content } = await sendUntilFinal(url, token, body, key ?? crypto.randomUUID());
  console.log(content);
  process.exitCode = status >= 200 && status < 300 ? 0 : 1;
}
