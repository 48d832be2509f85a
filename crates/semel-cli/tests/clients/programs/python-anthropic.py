# Anthropic's SDK: a message. Two retries by default. Its URL has no path; the key is in
# ANTHROPIC_API_KEY.
import sys

import anthropic

url, order = sys.argv[1:]
answer = anthropic.Anthropic(base_url=url).messages.create(
    model="claude-haiku-4-5",
    max_tokens=64,
    messages=[{"role": "user", "content": "order " + order}],
)
print(answer.content[0].text)
