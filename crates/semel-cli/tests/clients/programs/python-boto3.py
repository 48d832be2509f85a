# AWS's SDK: a Lambda function is called, with the order as its input. It retries by default.
# The keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
import json
import sys

import boto3

url, order = sys.argv[1:]
client = boto3.client("lambda", region_name="eu-central-1", endpoint_url=url)
answer = client.invoke(FunctionName="charge", Payload=json.dumps({"order": order}))
print(answer["Payload"].read().decode())
