# urllib of Python's own library, which sends once.
import json
import sys
import urllib.request

url, order = sys.argv[1:]
request = urllib.request.Request(
    url,
    data=json.dumps({"order": order}).encode(),
    headers={"content-type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    print(answer.read().decode())
