# urllib3 by itself: no proxy, unless it is told one. Three retries, but not of a POST
# that was sent.
import sys

import urllib3

url, order = sys.argv[1:]
answer = urllib3.request("POST", url, json={"order": order})
print(answer.data.decode())
sys.exit(answer.status // 100 != 2)
