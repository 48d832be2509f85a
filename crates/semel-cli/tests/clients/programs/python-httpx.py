# httpx, which sends once.
import sys

import httpx

url, order = sys.argv[1:]
answer = httpx.post(url, json={"order": order})
print(answer.text)
sys.exit(not answer.is_success)
