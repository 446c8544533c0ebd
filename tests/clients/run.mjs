// Sends requests through the `post` of a module: run.mjs MODULE.
// Prints `ready` when the module is loaded. Each line of standard input is a list of requests, which are sent all at a time.
// Prints a line of JSON for each of them when it ends.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { post } = await import(pathToFileURL(process.argv[2]));

async function send({ name, url, headers, body, timeout }) {
  const started = performance.now();
  const ending = { name, status: null, body: "", error: "" };
  try {
    // Without a time-out, the module's own.
    const [status, content] = await post(url, headers, body, timeout ? 1000 * timeout : undefined);
    Object.assign(ending, { status, body: typeof content === "string" ? content : JSON.stringify(content) });
  } catch (error) {
    // What the caller of a library would see.
    ending.error = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ ...ending, seconds: (performance.now() - started) / 1000 }));
}

console.log("ready");
for await (const requests of createInterface({ input: process.stdin })) {
  JSON.parse(requests).forEach(send);
}
