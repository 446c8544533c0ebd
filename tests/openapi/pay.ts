// A program with the client that openapi-typescript generates from docs/openapi.yaml: pay.ts URL TOKEN ACCOUNT METHOD KEY.
// Prints what it is told, as one line of JSON. It does not compile if a problem's type is lost or an answer is not declared.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Refusal = Schemas["FinalProblem"] | Schemas["ProviderProblem"] | Schemas["RetryableProblem"] | Schemas["Message"];

const [baseUrl = "", token = "", account = "", payment_method = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const { data, error, response } = await client.POST("/payments", {
  params: { header: { "Idempotency-Key": key, Prefer: "respond-async" } },
  body: { account, amount: 1999, currency: "EUR", payment_method },
});
const replayed = response.headers.get("idempotency-replayed") === "true";
console.log(JSON.stringify({ status: response.status, replayed, told: data ? paid(data) : refused(error) }));

function paid(payment: Schemas["Payment"]): string {
  return `${payment.id} ${payment.status}`;
}

/** Each way of telling refusals apart narrows the type: a member that only one of them has, `retryable`, and `type`. */
function refused(refusal: Refusal): string {
  if ("message" in refusal) return `gateway: ${refusal.message}`;
  if (refusal.retryable) return `repeat: ${repeat(refusal.code)}`;
  switch (refusal.type) {
    case "/problems/declined":
    case "/problems/refused":
      return `provider: ${refusal.code}`;
    default:
      return `final: ${correct(refusal.code)} ${refusal.errors?.length ?? 0}`;
  }
}

/** Compiles only as long as the description enumerates exactly these codes. */
function repeat(code: Schemas["RetryableProblem"]["code"]): string {
  switch (code) {
    case "in-progress":
    case "outcome-unknown":
    case "store-unavailable":
    case "deadline-at-hand":
    case "provider-unavailable":
      return code;
    default:
      return code satisfies never;
  }
}

/** As above. */
function correct(code: Schemas["FinalProblem"]["code"]): string {
  switch (code) {
    case "missing-key":
    case "invalid-key":
    case "missing-value":
    case "missing-principal":
    case "content-too-large":
    case "fingerprint-mismatch":
    case "answer-unreadable":
    case "invalid-request":
    case "not-found":
    case "settled-as-failed":
      return code;
    default:
      return code satisfies never;
  }
}
