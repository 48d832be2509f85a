# aiohttp, which knows no proxy unless it is told one. It sends a POST once.
import asyncio
import sys

import aiohttp

url, order = sys.argv[1:]


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={"order": order}) as answer:
            print(await answer.text())
            return answer.ok


sys.exit(not asyncio.run(main()))
