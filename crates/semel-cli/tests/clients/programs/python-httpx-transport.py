# httpx with a transport of the program's own, as those have that want retries of
# connections. It reads no proxy from the environment.
import asyncio
import sys

import httpx

url, order = sys.argv[1:]


async def main():
    transport = httpx.AsyncHTTPTransport(retries=2)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.post(url, json={"order": order})


answer = asyncio.run(main())
print(answer.text)
sys.exit(not answer.is_success)
