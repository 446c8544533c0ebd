import requests
from tenacity import retry, retry_if_exception, stop_after_attempt


def is_transient(error):
    answer = getattr(error, "response", None)
    return isinstance(error, requests.RequestException) and (
        answer is None or answer.status_code == 429 or answer.status_code >= 500
    )


@retry(stop=stop_after_attempt(5), retry=retry_if_exception(is_transient))
def post(url, headers, body, **timeout):
    answer = requests.post(url, headers=headers, data=body, **timeout)
    answer.raise_for_status()
    return answer.status_code, answer.text
