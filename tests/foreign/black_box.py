"""What a deployment of the application must do, seen from outside: the same on the emulator and in an account of AWS."""

import json
import threading
import uuid

import web
from processes import until


class Application:
    """A deployed stack, its address, and tokens of its issuer. `address` is `host:port` to connect to, `host` what the API is
    called; `token` makes a token of a subject, with further claims."""

    def __init__(self, stack, address, host, token):
        self.stack, self.address, self.host, self.token = stack, address, host, token

    def call(self, method, path, token=None, key=None, body=None):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["idempotency-key"] = key
        return web.request(self.address, method, path, host=self.host, headers=headers, body=body)

    def pay(self, token, key, account, method="pm_card_visa", amount=1999):
        body = {"account": account, "amount": amount, "currency": "EUR", "payment_method": method}
        return self.call("POST", "/payments", token, key, body)

    def balance(self, token, account, entries, seconds=60):
        """The balance, as soon as this many entries make it up."""
        def found():
            answer = self.call("GET", f"/accounts/{account}", token)
            balances = answer.json["balances"] if answer.status == 200 else []
            return [each["balance"] for each in balances if each["entries"] == entries]
        return until(f"{account} has {entries} entries", found, seconds)[0]

    def statuses(self):
        """How many records of requests there are in each state."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=self.stack.outputs["RecordsTable"])
        found = [item["status"]["S"] for page in pages for item in page["Items"] if "status" in item]
        return {status: found.count(status) for status in found}


def name(kind):
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def pays_once(application):
    """Pays, replays, refuses another request under the key, and posts to the ledger."""
    ann, key, account = application.token("ann"), name("key"), name("account")
    first, again = application.pay(ann, key, account), application.pay(ann, key, account)
    assert (first.status, again.status) == (201, 201), (first, again)
    assert first.body == again.body, (first, again)
    assert "idempotency-replayed" not in first.headers and again.headers["idempotency-replayed"] == "true", (first, again)
    other = application.pay(ann, key, account, amount=2000)
    assert (other.status, other.json["code"]) == (422, "fingerprint-mismatch"), other
    declined = application.pay(ann, name("key"), account, "pm_card_chargeDeclined")
    assert declined.status == 402, declined
    nobody = application.pay(None, key, account)
    assert nobody.status == 401, nobody
    assert application.balance(ann, account, 1) == 1999
    stranger = application.call("GET", f"/accounts/{account}", application.token("bob"))
    assert stranger.status in (403, 404), stranger


def posts_each_message_once(application, seconds=120):
    """A batch with duplicates and poison: each event is posted once, and poison goes to the dead letters."""
    sqs, accounts = application.stack.client("sqs"), [name("account"), name("account")]
    ann = application.token("ann", role="accounts:read")
    events = [json.dumps({
        "type": "payment.succeeded", "event": str(uuid.uuid4()), "payment": f"pay_{uuid.uuid4().hex}", "account": account,
        "amount": "100", "currency": "EUR"}) for account in accounts]
    poison = f"poison {uuid.uuid4()}"
    bodies = [events[0], poison, events[0], events[1], events[0], events[1]]
    sqs.send_message_batch(
        QueueUrl=application.stack.outputs["LedgerQueueUrl"],
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)])
    for account in accounts:
        assert application.balance(ann, account, 1) == 100

    def dead():
        received = sqs.receive_message(QueueUrl=application.stack.outputs["LedgerDeadLettersUrl"], MaxNumberOfMessages=10)
        return [each["Body"] for each in received.get("Messages", [])]
    assert until("poison is a dead letter", dead, seconds) == [poison]
    for account in accounts:
        assert application.balance(ann, account, 1) == 100


def leaves_unknown(application):
    """A payment whose outcome nobody knows: the provider charges and never answers. The client does not come back."""
    ann, key, account = application.token("ann"), name("key"), name("account")
    lost = application.pay(ann, key, account, "pm_timeout_after_charge")
    assert lost.json["code"] == "outcome-unknown", lost
    return ann, key, account


def shows_unknown(application):
    """The console lists it for an operator, and for nobody else."""
    path = "/console/api/unresolved"
    listed = application.call("GET", path, application.token("olga", role="operator"))
    assert listed.status == 200 and b"POST /payments" in listed.body, listed
    for token, status in [(None, 401), (application.token("ann"), 403)]:
        refused = application.call("GET", path, token)
        assert refused.status == status, refused
    page = application.call("GET", "/console")
    assert page.status in (302, 303, 401), page


def is_settled_without_its_client(application, unknown):
    """The reconciler follows up and finds the charge, so the client's late retry is answered from the record."""
    ann, key, account = unknown
    until("the reconciler settles it", lambda: "UNKNOWN" not in application.statuses(), 150, every=1)
    again = application.pay(ann, key, account, "pm_timeout_after_charge")
    assert again.status == 201 and again.headers["idempotency-replayed"] == "true", again
    assert application.balance(ann, account, 1) == 1999


def survives_a_kill(application, charges, kill):
    """The function is killed after the charge: one charge, one answer, one posting."""
    ann, key, account = application.token("ann"), name("key"), name("account")
    before, answers = len(charges()), []
    request = lambda: answers.append(application.pay(ann, key, account, "pm_timeout_after_charge"))
    client = threading.Thread(target=request)
    client.start()
    until("the provider has charged", lambda: len(charges()) > before, 30, every=0.05)
    kill()
    client.join()
    assert answers[0].status >= 500, answers

    def paid():
        answer = application.pay(ann, key, account, "pm_timeout_after_charge")
        assert answer.status in (201, 409, 503), answer
        return answer.status == 201 and answer
    until("a retry gets the outcome", paid, 60, every=1)
    assert len(charges()) == before + 1, charges()
    assert application.balance(ann, account, 1) == 1999
