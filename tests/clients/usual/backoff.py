import backoff
import requests


def is_final(error):
    answer = error.response
    return answer is not None and answer.status_code < 500 and answer.status_code != 429


@backoff.on_exception(backoff.expo, requests.RequestException, max_tries=5, giveup=is_final)
def post(url, headers, body, **timeout):
    answer = requests.post(url, headers=headers, data=body, **timeout)
    answer.raise_for_status()
    return answer.status_code, answer.text
