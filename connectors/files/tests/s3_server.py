"""A small S3-compatible server for the tests, on a free port of loopback, until it is ended.

Signatures are checked. Its one user may read and write the bucket `belvedere`, and not `private`. The first line that
is printed is the address and the user's key and secret: BELVEDERE_TEST_S3, BELVEDERE_TEST_S3_KEY and
BELVEDERE_TEST_S3_SECRET of the tests.
"""

import threading
import urllib.request

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class Application(DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        # Both are a blank in a query, and are signed alike; moto's check of signatures takes only the latter as such.
        environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("+", "%20")
        return super().__call__(environ, start_response)


server = make_server("127.0.0.1", 0, Application(create_backend_app), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}"


def client(service):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
    )


client("s3").create_bucket(Bucket="belvedere")
client("s3").create_bucket(Bucket="private")
for number in range(1500):
    # Past the protocol, which would take half a minute.
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("belvedere", f"paged/a/{number:04}.csv", b"")
users = client("iam")
policy = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::*"]},
    {"Effect": "Deny", "Action": "s3:*", "Resource": ["arn:aws:s3:::private", "arn:aws:s3:::private/*"]}]}"""
users.create_user(UserName="reader")
users.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
key = users.create_access_key(UserName="reader")["AccessKey"]
# From now on, who calls must be known.
text = {"Content-Type": "text/plain"}
request = urllib.request.Request(endpoint + "/moto-api/reset-auth", b"0", text, method="POST")
urllib.request.urlopen(request).close()
print(endpoint, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
threading.Event().wait()
