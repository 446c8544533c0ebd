import aiohttp
from aiohttp_retry import ExponentialRetry, RetryClient


async def post(url, headers, body, timeout=None):
    own = {"timeout": aiohttp.ClientTimeout(timeout)} if timeout else {}
    async with RetryClient(retry_options=ExponentialRetry(attempts=5, statuses={429}), **own) as client:
        async with client.post(url, headers=headers, data=body) as answer:
            return answer.status, await answer.text()
