"""A program with the client that openapi-python-client generates from docs/openapi.yaml: pay.py URL TOKEN ACCOUNT METHOD KEY.

Prints what it is told, as one line of JSON, with the class that the client made of the answer.
"""

import json
import sys

from generated.api.payments import create_payment
from generated.client import AuthenticatedClient
from generated.models import PaymentRequest

url, token, account, method, key = sys.argv[1:]
order = PaymentRequest(account=account, amount=1999, currency="EUR", payment_method=method)
with AuthenticatedClient(base_url=url, token=token, timeout=35) as client:
    answer = create_payment.sync_detailed(client=client, body=order, idempotency_key=key, prefer="respond-async")
told = answer.parsed
what = getattr(told, "code", None) or getattr(told, "message", None) or told.id
print(json.dumps({
    "status": int(answer.status_code),
    "replayed": answer.headers.get("idempotency-replayed") == "true",
    "told": f"{type(told).__name__}: {what}",
}))
