// OpenAI's SDK: a chat completion. Two retries by default. Its URL ends in /v1; the key is
// in OPENAI_API_KEY.
'use strict';

const { OpenAI } = require('openai');

const [baseURL, order] = process.argv.slice(2);
new OpenAI({ baseURL }).chat.completions
  .create({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: `order ${order}` }] })
  .then((answer) => console.log(answer.choices[0].message.content));
