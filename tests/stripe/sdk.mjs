// What a program with Stripe's SDK for Node meets at the local stack's payment provider.
//
// Called with the provider's address, in a folder where the SDK is installed. Ends with 0 if all of it is as at Stripe.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const Stripe = createRequire(join(process.cwd(), "package.json"))("stripe");
const { hostname: host, port, protocol } = new URL(process.argv[2]);
const settings = { host, port, protocol: protocol.slice(0, -1), maxNetworkRetries: 0, telemetry: false };
const stripe = new Stripe("sk_test_node", settings);

const PAYMENT = { amount: 1999, currency: "eur", payment_method: "pm_card_visa", confirm: true };
const under = (key) => ({ idempotencyKey: `node-${key}` });
const all = async (list) => {
  const ids = [];
  for await (const object of list) ids.push(object.id);
  return ids;
};

// The error of a call, which has these members and names its request.
async function fails(type, call, members) {
  const error = await call().then(
    () => assert.fail(`no ${type}`),
    (error) => error,
  );
  assert.equal(error.type, type, error.message);
  assert.match(error.requestId, /^req_/);
  for (const [name, value] of Object.entries(members)) assert.equal(error[name], value, `${name} of ${error.message}`);
}

// Charged once under a key, and replayed; the key is of these parameters alone.
const first = await stripe.paymentIntents.create({ ...PAYMENT, metadata: { order: "node-1" } }, under("1"));
const again = await stripe.paymentIntents.create({ ...PAYMENT, metadata: { order: "node-1" } }, under("1"));
assert.deepEqual([first.status, first.id], ["succeeded", again.id]);
assert.equal(first.lastResponse.headers["idempotent-replayed"], undefined);
assert.equal(again.lastResponse.headers["idempotent-replayed"], "true");
assert.match(first.lastResponse.requestId, /^req_/);
assert.notEqual(first.lastResponse.requestId, again.lastResponse.requestId);
assert.equal(first.lastResponse.idempotencyKey, "node-1");
await fails("StripeIdempotencyError", () => stripe.paymentIntents.create({ ...PAYMENT, amount: 2999 }, under("1")), {
  statusCode: 400,
});
assert.equal((await stripe.paymentIntents.retrieve(first.id)).metadata.order, "node-1");

// Errors have Stripe's types and words.
const declined = { ...PAYMENT, payment_method: "pm_card_chargeDeclined" };
await fails("StripeCardError", () => stripe.paymentIntents.create(declined, under("declined")), {
  statusCode: 402,
  code: "card_declined",
  decline_code: "generic_decline",
});
const absent = { ...PAYMENT, payment_method: "pm_card_authenticationRequired", off_session: true };
await fails("StripeCardError", () => stripe.paymentIntents.create(absent), {
  statusCode: 402,
  code: "authentication_required",
});
const asked = await stripe.paymentIntents.create({ ...PAYMENT, payment_method: "pm_card_threeDSecure2Required" });
assert.deepEqual([asked.status, asked.next_action.type], ["requires_action", "use_stripe_sdk"]);
const tooMany = Object.fromEntries(Array.from({ length: 51 }, (_, number) => [`k${number}`, "v"]));
for (const [wrong, members] of [
  [{ amount: 1 }, { code: "amount_too_small", param: "amount" }],
  [{ currency: "xxx" }, { param: "currency" }],
  [{ metadata: tooMany }, { param: "metadata" }],
  [{ payment_method: "pm_nobody" }, { code: "resource_missing", param: "payment_method" }],
]) {
  const call = () => stripe.paymentIntents.create({ ...PAYMENT, ...wrong });
  await fails("StripeInvalidRequestError", call, { statusCode: 400, ...members });
}
await fails("StripeInvalidRequestError", () => stripe.paymentIntents.retrieve("pi_nobody"), {
  statusCode: 404,
  code: "resource_missing",
});

// Pages end, in both directions.
const orders = [];
for (let number = 0; number < 5; number++) {
  const order = await stripe.paymentIntents.create({ amount: 500, currency: "usd", metadata: { batch: "node" } });
  orders.push(order.id);
}
const newestFirst = orders.toReversed();
const listed = await all(stripe.paymentIntents.list({ limit: 2 }));
assert.deepEqual([listed.slice(0, 5), listed.at(-1)], [newestFirst, first.id]);
const older = await all(stripe.paymentIntents.list({ limit: 2, starting_after: orders[1] }));
assert.deepEqual(older, listed.slice(4));
const newer = await all(stripe.paymentIntents.list({ limit: 2, ending_before: orders[0] }));
assert.deepEqual(newer, orders.slice(1));
const found = await all(stripe.paymentIntents.search({ query: "metadata['batch']:'node'", limit: 2 }));
assert.deepEqual(found, newestFirst);

// Cancelled for good, refunded in part.
assert.equal((await stripe.paymentIntents.cancel(orders[0])).status, "canceled");
const confirm = () => stripe.paymentIntents.confirm(orders[0], { payment_method: "pm_card_visa" });
await fails("StripeInvalidRequestError", confirm, { statusCode: 400, code: "payment_intent_unexpected_state" });
const of = { payment_intent: first.id };
const part = await stripe.refunds.create({ ...of, amount: 500 }, under("refund"));
assert.equal((await stripe.refunds.create({ ...of, amount: 500 }, under("refund"))).id, part.id);
const rest = await stripe.refunds.create(of);
assert.deepEqual([part.status, rest.amount], ["succeeded", 1499]);
await fails("StripeInvalidRequestError", () => stripe.refunds.create(of), {
  statusCode: 400,
  code: "charge_already_refunded",
});
assert.deepEqual(await all(stripe.refunds.list({ ...of, limit: 1 })), [rest.id, part.id]);
assert.deepEqual(await all(stripe.refunds.list({ ...of, limit: 1, ending_before: part.id })), [rest.id]);

await fails("StripeAuthenticationError", () => new Stripe(" ", settings).paymentIntents.list(), { statusCode: 401 });
