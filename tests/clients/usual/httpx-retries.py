import httpx
from httpx_retries import Retry, RetryTransport

# Its own list of statuses: 429, 502, 503 and 504.
client = httpx.Client(transport=RetryTransport(retry=Retry(total=4, allowed_methods=["POST"])))


def post(url, headers, body, **timeout):
    answer = client.post(url, headers=headers, content=body, **timeout)
    return answer.status_code, answer.text
