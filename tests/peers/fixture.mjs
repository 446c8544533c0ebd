// The routes of tests/http-conformance/README.md on Express, as far as a process in memory can offer them. What protects them
// is given to `serve`: middleware as its README shows it, without any work of ours on top.
import { randomBytes, randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import express from "express";

const executions = new Map();

function answers(request, response) {
  const [action, argument] = request.path.split("/").filter((part) => part && part !== "open");
  const execution = randomUUID();
  const count = () => {
    const name = request.get("x-case");
    executions.set(name, (executions.get(name) ?? 0) + 1);
  };
  response.set({
    Location: `/things/${execution}`,
    ETag: `"${execution}"`,
    Link: '</things>; rel="collection"',
    "Content-Language": "en",
    "Set-Cookie": `session=${execution}`,
    "X-Trace-Id": execution,
  });
  switch (action) {
    case "invalid":
      if (!String(request.raw ?? "").includes('"valid"')) {
        return response.status(400).type("application/problem+json").send(JSON.stringify({ code: "invalid-request" }));
      }
      break;
    case "not-executed":
      if (!seen.has(request.get("idempotency-key"))) {
        seen.add(request.get("idempotency-key"));
        return response.status(503).send();
      }
      break;
  }
  count();
  const body = { execution };
  switch (action) {
    case "status":
      return [204, 304].includes(Number(argument)) ? response.status(Number(argument)).send() : response.status(Number(argument)).json(body);
    case "echo":
      return response.status(201).type(request.get("content-type") ?? "text/plain").send(request.raw ?? Buffer.alloc(0));
    case "slow":
      return setTimeout(() => response.status(201).json(body), Number(request.query.ms));
    case "large":
      return response.type("text/plain").send(randomBytes(Number(request.query.bytes)).toString("base64").slice(0, Number(request.query.bytes)));
    case "binary":
      return response.type("application/octet-stream").send(Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), randomBytes(16)]));
    case "gzip":
      return response.set("Content-Encoding", "gzip").type("application/json").send(gzipSync('{"hello":"world"}'));
    case "panic":
      throw new Error("as asked");
    case "pay":
    case "invalid":
    case "not-executed":
      return response.status(201).json(body);
    default:
      return response.status(404).json({ code: "not-found" });
  }
}

const seen = new Set();

export function serve(protect) {
  const app = express();
  app.set("etag", false);
  app.get("/executions/:case", (request, response) => response.json({ executions: executions.get(request.params.case) ?? 0 }));
  const keep = (request, _response, bytes) => (request.raw = Buffer.from(bytes));
  app.use(express.json({ verify: keep, limit: "8mb" }), express.raw({ type: () => true, verify: keep, limit: "8mb" }));
  protect(app, answers);
  const server = app.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => console.log(`ready http://127.0.0.1:${server.address().port}`));
}
