// https://www.npmjs.com/package/@node-idempotency/core with its memory adapter. The core leaves HTTP to a plug-in, and there
// is none for Express: this is what its NestJS plug-in does, on Express.
import core from "@node-idempotency/core";
import memory from "@node-idempotency/storage-adapter-memory";
import { serve } from "./fixture.mjs";

const { Idempotency, IdempotencyError, IdempotencyErrorCodes } = core;
const statuses = {
  [IdempotencyErrorCodes.REQUEST_IN_PROGRESS]: 409,
  [IdempotencyErrorCodes.IDEMPOTENCY_FINGERPRINT_MISSMATCH]: 422,
  [IdempotencyErrorCodes.IDEMPOTENCY_KEY_LEN_EXEEDED]: 400,
  [IdempotencyErrorCodes.IDEMPOTENCY_KEY_MISSING]: 400,
};

serve((app, answers) => {
  const idempotency = new Idempotency(new memory.MemoryStorageAdapter(), { enforceIdempotency: true });
  app.all("*", (request, response, next) => protect(request, response).catch(next));

  async function protect(request, response) {
    if (!["POST", "PATCH"].includes(request.method)) return answers(request, response);
    const asked = { headers: request.headers, path: request.originalUrl, body: request.body, method: request.method };
    try {
      const known = await idempotency.onRequest(asked);
      if (known) return response.status(known.additional?.status ?? 200).set(known.additional?.headers ?? {}).send(known.body);
    } catch (error) {
      if (!(error instanceof IdempotencyError)) throw error;
      return response.status(statuses[error.code]).json({ code: error.code });
    }
    const send = response.send.bind(response);
    response.send = (body) => {
      response.send = send;
      const type = response.get("content-type");
      const additional = { status: response.statusCode, headers: type ? { "content-type": type } : {} };
      idempotency.onResponse(asked, { body, additional }).finally(() => send(body));
      return response;
    };
    answers(request, response);
  }
});
