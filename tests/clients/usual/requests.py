import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

session = requests.Session()
for scheme in "http://", "https://":
    retry = Retry(total=4, allowed_methods=["POST"], status_forcelist=[429, *range(500, 600)])
    session.mount(scheme, HTTPAdapter(max_retries=retry))


def post(url, headers, body, **timeout):
    answer = session.post(url, headers=headers, data=body, **timeout)
    return answer.status_code, answer.text
