"""What a program with Stripe's SDK for Python meets at the local stack's payment provider.

Called with the provider's address. Ends with 0 if all of it is as at Stripe.
"""

import sys

import stripe

client = stripe.StripeClient("sk_test_python", base_addresses={"api": sys.argv[1]}, max_network_retries=0)
intents, refunds = client.v1.payment_intents, client.v1.refunds

PAYMENT = {"amount": 1999, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}


def under(key):
    return {"idempotency_key": f"python-{key}"}


def fails(kind, call, **members):
    """The error of a call, which has these members and names its request."""
    try:
        call()
    except kind as error:
        assert type(error) is kind, error
        assert error.request_id.startswith("req_"), error
        found = {name: getattr(error, name, None) or getattr(error.error, name, None) for name in members}
        assert found == members, (found, members)
        return error
    raise AssertionError(f"no {kind.__name__}")


# Charged once under a key, and replayed; the key is of these parameters alone.
first = intents.create({**PAYMENT, "metadata": {"order": "python-1"}}, under("1"))
again = intents.create({**PAYMENT, "metadata": {"order": "python-1"}}, under("1"))
assert (first.status, first.id) == ("succeeded", again.id)
assert "idempotent-replayed" not in first.last_response.headers
assert again.last_response.headers["idempotent-replayed"] == "true"
assert first.last_response.request_id.startswith("req_")
assert first.last_response.request_id != again.last_response.request_id
assert first.last_response.idempotency_key == "python-1"
fails(stripe.IdempotencyError, lambda: intents.create({**PAYMENT, "amount": 2999}, under("1")), http_status=400)
assert intents.retrieve(first.id).metadata["order"] == "python-1"

# Errors have Stripe's types and words.
fails(
    stripe.CardError,
    lambda: intents.create({**PAYMENT, "payment_method": "pm_card_chargeDeclined"}, under("declined")),
    http_status=402,
    code="card_declined",
    decline_code="generic_decline",
)
fails(
    stripe.CardError,
    lambda: intents.create({**PAYMENT, "payment_method": "pm_card_authenticationRequired", "off_session": True}),
    http_status=402,
    code="authentication_required",
)
asked = intents.create({**PAYMENT, "payment_method": "pm_card_threeDSecure2Required"})
assert (asked.status, asked.next_action.type) == ("requires_action", "use_stripe_sdk")
for wrong, members in [
    ({"amount": 1}, {"code": "amount_too_small", "param": "amount"}),
    ({"currency": "xxx"}, {"param": "currency"}),
    ({"metadata": {f"k{number}": "v" for number in range(51)}}, {"param": "metadata"}),
    ({"payment_method": "pm_nobody"}, {"code": "resource_missing", "param": "payment_method"}),
]:
    fails(stripe.InvalidRequestError, lambda: intents.create({**PAYMENT, **wrong}), http_status=400, **members)
fails(stripe.InvalidRequestError, lambda: intents.retrieve("pi_nobody"), http_status=404, code="resource_missing")

# Pages end, in both directions.
orders = [intents.create({"amount": 500, "currency": "usd", "metadata": {"batch": "python"}}).id for _ in range(5)]
listed = [intent.id for intent in intents.list({"limit": 2}).auto_paging_iter()]
assert listed[:5] == orders[::-1] and listed[-1] == first.id, listed
older = [intent.id for intent in intents.list({"limit": 2, "starting_after": orders[1]}).auto_paging_iter()]
assert older == listed[4:], older
newer = [intent.id for intent in intents.list({"limit": 2, "ending_before": orders[0]}).auto_paging_iter()]
assert newer == orders[1:], newer
found = intents.search({"query": "metadata['batch']:'python'", "limit": 2})
assert [intent.id for intent in found.auto_paging_iter()] == orders[::-1]

# Cancelled for good, refunded in part.
assert intents.cancel(orders[0]).status == "canceled"
fails(
    stripe.InvalidRequestError,
    lambda: intents.confirm(orders[0], {"payment_method": "pm_card_visa"}),
    http_status=400,
    code="payment_intent_unexpected_state",
)
part = refunds.create({"payment_intent": first.id, "amount": 500}, under("refund"))
assert refunds.create({"payment_intent": first.id, "amount": 500}, under("refund")).id == part.id
rest = refunds.create({"payment_intent": first.id})
assert (part.status, rest.amount) == ("succeeded", 1499)
fails(
    stripe.InvalidRequestError,
    lambda: refunds.create({"payment_intent": first.id}),
    http_status=400,
    code="charge_already_refunded",
)
of_first = refunds.list({"payment_intent": first.id, "limit": 1})
assert [refund.id for refund in of_first.auto_paging_iter()] == [rest.id, part.id]
before = refunds.list({"payment_intent": first.id, "limit": 1, "ending_before": part.id})
assert [refund.id for refund in before.auto_paging_iter()] == [rest.id]

stranger = stripe.StripeClient(" ", base_addresses={"api": sys.argv[1]}, max_network_retries=0)
fails(stripe.AuthenticationError, lambda: stranger.v1.payment_intents.list(), http_status=401)
