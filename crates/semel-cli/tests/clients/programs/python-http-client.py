# http.client of Python's own library, which sends once, and knows no proxy.
import http.client
import json
import sys
from urllib.parse import urlsplit

url, order = sys.argv[1:]
where = urlsplit(url)
kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
connection = kind(where.netloc)
connection.request(
    "POST",
    where.path or "/",
    json.dumps({"order": order}),
    {"content-type": "application/json"},
)
answer = connection.getresponse()
print(answer.read().decode())
sys.exit(answer.status // 100 != 2)
