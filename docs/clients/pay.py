"""Makes one payment, however often it has to repeat the request: pay.py URL TOKEN BODY [KEY]. Python 3.9 or later, nothing to install."""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid


def send_until_final(url, token, body, key):
    """Repeats the same bytes under the same key until the answer is final. Returns its status and its body."""
    request = urllib.request.Request(url, data=body.encode(), method="POST", headers={
        "Authorization": f"Bearer {token}",
        "Idempotency-Key": f'"{key}"',
        "Content-Type": "application/json",
    })
    pause = 1
    while True:
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            content = refusal.read()
            if refusal.code < 500 and not is_retryable(content):
                return refusal.code, content
            after = refusal.headers.get("Retry-After")
        except OSError:  # No answer at all: anything may have happened.
            after = None
        time.sleep(int(after) if after else pause)
        pause = min(pause * 2, 30)


def is_retryable(content):
    try:
        return json.loads(content).get("retryable") is True
    except (ValueError, AttributeError):
        return False


if __name__ == "__main__":
    # One key per decision. To repeat the request after a crash of this script, pass the key that it used.
    status, content = send_until_final(*sys.argv[1:4], sys.argv[4] if len(sys.argv) > 4 else str(uuid.uuid4()))
    print(content.decode())
    sys.exit(0 if 200 <= status < 300 else 1)
