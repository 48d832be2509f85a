# Stripe's SDK: a payment. It retries by default, each time under the same Idempotency-Key.
# Its URL has no path; the key is in STRIPE_API_KEY.
import os
import sys

import stripe

url, order = sys.argv[1:]
client = stripe.StripeClient(os.environ["STRIPE_API_KEY"], base_addresses={"api": url})
answer = client.v1.payment_intents.create(
    params={"amount": 1200, "currency": "eur", "metadata": {"order": order}}
)
print(answer.id)
