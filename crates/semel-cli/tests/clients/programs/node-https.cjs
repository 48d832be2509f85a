// Node's own https (or http), which sends once, and by itself knows no proxy.
'use strict';

const [url, order] = process.argv.slice(2);
const request = require(new URL(url).protocol.slice(0, -1)).request(url, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
});
request.on('response', (answer) => {
  answer.pipe(process.stdout);
  process.exitCode = answer.statusCode < 300 ? 0 : 1;
});
request.end(JSON.stringify({ order }));
