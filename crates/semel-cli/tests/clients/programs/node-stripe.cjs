// Stripe's SDK: a payment. Two retries by default, each under the same Idempotency-Key. Its
// URL has no path; the key is in STRIPE_API_KEY. Its agent is its own.
'use strict';

const Stripe = require('stripe');

const [url, order] = process.argv.slice(2);
const { protocol: scheme, hostname: host, port } = new URL(url);
const protocol = scheme.slice(0, -1);
const at = port || { http: 80, https: 443 }[protocol];
new Stripe(process.env.STRIPE_API_KEY, { protocol, host, port: at })
  .paymentIntents.create({ amount: 1200, currency: 'eur', metadata: { order } })
  .then((answer) => console.log(answer.id));
