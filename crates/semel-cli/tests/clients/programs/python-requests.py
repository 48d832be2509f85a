# requests, which sends once.
import sys

import requests

url, order = sys.argv[1:]
answer = requests.post(url, json={"order": order})
print(answer.text)
sys.exit(not answer.ok)
