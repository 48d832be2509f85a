# OpenAI's SDK: a chat completion, streamed as server-sent events.
import sys

import openai

url, order = sys.argv[1:]
stream = openai.OpenAI(base_url=url).chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "order " + order}],
    stream=True,
)
for part in stream:
    if part.choices:
        print(part.choices[0].delta.content or "", end="", flush=True)
print()
