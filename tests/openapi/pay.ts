// A program with the client that openapi-typescript generates from docs/openapi.yaml: pay.ts URL TOKEN ACCOUNT METHOD KEY.
// Prints what it is told, as one line of JSON. It does not compile if a problem's type is lost or an answer is not declared.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Refusal = Schemas["FinalProblem"] | Schemas["RetryableProblem"] | Schemas["Message"];

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

/** Each way of telling refusals apart narrows the type: a member that only one of them has, and `retryable`. */
function refused(refusal: Refusal): string {
  if ("message" in refusal) return `gateway: ${refusal.message}`;
  if (!refusal.retryable) return `final: ${refusal.code} ${refusal.errors?.length ?? 0}`;
  const code: "in-progress" | "outcome-unknown" | "store-unavailable" | "deadline-at-hand" | "provider-unavailable" =
    refusal.code;
  return `repeat: ${code}`;
}
