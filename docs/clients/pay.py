"""Makes one payment, and ends knowing whether it was made: TOKEN=… pay.py URL ORDER BODY. Needs Python 3.9 and requests.

ORDER names the decision to pay; the key is derived from it. So you may interrupt this script, and run it again with the same
ORDER and BODY until 24 hours after it ended. It pays once. Another attempt after a refusal is another ORDER.

Exit codes: 0 paid. 1 not charged, and not under this ORDER. 2 wrong arguments. 3 not known: run it again.
"""

import email.utils
import hashlib
import os
import sys
import time

import requests

TIMEOUT_S = 35
TRIES, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S = 8, 30, 300
# They refuse this request only: an earlier one under the key may have charged.
REFUSES_THIS_REQUEST = {"missing-key", "invalid-key", "missing-value", "missing-principal", "content-too-large",
                        "fingerprint-mismatch", "answer-unreadable"}


def main():
    if len(sys.argv) != 4 or not all(sys.argv) or not os.environ.get("TOKEN"):
        end(2, "usage: TOKEN=… pay.py URL ORDER BODY")
    url, order, body = sys.argv[1:]
    headers = {
        "Authorization": f"Bearer {os.environ['TOKEN']}",
        "Idempotency-Key": '"' + hashlib.sha256(b"POST /payments " + os.fsencode(order)).hexdigest() + '"',
        "Content-Type": "application/json",
    }
    try:
        request = requests.Request("POST", url, headers=headers, data=os.fsencode(body)).prepare()
    except (requests.RequestException, ValueError) as error:
        end(2, f"wrong arguments: {error}")
    for attempt in range(TRIES):
        after = 0
        try:
            with requests.Session() as session:
                answer = session.send(request, timeout=TIMEOUT_S, allow_redirects=False)
            judge(answer)
            what, after = f"the answer was {answer.status_code}", retry_after(answer)
        except (requests.RequestException, ValueError) as error:  # No whole answer: anything may have happened.
            what = f"no answer: {type(error).__name__}"
        if after > LONGEST_RETRY_AFTER_S or attempt + 1 == TRIES:
            end(3, f"not known ({what}): run this again later")
        time.sleep(max(after, min(2 ** attempt, LONGEST_PAUSE_S)))


def judge(answer):
    """Ends the script if the answer is final, or if the same request would be refused again."""
    content = json_object(answer)
    is_problem = answer.headers.get("Content-Type", "").startswith("application/problem+json") and "code" in content
    problem = content if is_problem else {}
    recorded = answer.headers.get("Idempotency-Replayed") == "true"
    if 200 <= answer.status_code < 300 and ("id" in content or recorded):
        end(0, "paid", answer.text)
    if recorded:
        end(1, f"not charged: {answer.status_code}", answer.text)
    if answer.status_code in (408, 425, 429) or problem.get("retryable") is True:
        return
    if problem.get("retryable") is False and str(problem["code"]) not in REFUSES_THIS_REQUEST:
        end(1, f"not charged: {problem['code']}", answer.text)
    if problem or 400 <= answer.status_code < 500:
        why = problem.get("code", answer.status_code)
        end(3, f"not known (this request was refused: {why}): correct that and run this again", answer.text)


def json_object(answer):
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else {}


def retry_after(answer):
    """`Retry-After` in seconds: a number of seconds, or the time until a date. Anything else counts as none."""
    text = answer.headers.get("Retry-After", "")
    try:
        if text.isascii() and text.isdigit():
            return int(text[:9])
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0


def end(code, message, content=""):
    print(content, end="\n" if content else "")
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        end(3, "not known (interrupted): run this again")
