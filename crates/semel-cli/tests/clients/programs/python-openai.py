# OpenAI's SDK: a chat completion. Two retries by default. Its URL ends in /v1; the key is
# in OPENAI_API_KEY.
import sys

import openai

url, order = sys.argv[1:]
answer = openai.OpenAI(base_url=url).chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "order " + order}],
)
print(answer.choices[0].message.content)
