"""The emulator of AWS, ministack, with its permissions enforced."""


import sys
from importlib.metadata import version
from pathlib import Path

import boto3

import processes
import web

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "deployer", "AWS_SECRET_ACCESS_KEY": "secret"}


class Emulator:
    """One emulator on a free port. Whoever signs with `CREDENTIALS` may do everything, as an account's root; others may do what
    they are allowed to, or everything if permissions are not enforced."""

    def __init__(self, folder, enforced=True):
        self.version = version("ministack")
        self.port = processes.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = folder / "emulator.log"
        temporary = folder / "emulator"
        temporary.mkdir(parents=True, exist_ok=True)
        command = [Path(sys.executable).parent / "ministack"]
        self.process = processes.start(
            command, self.log, **CREDENTIALS, AUTH=str(enforced).lower(), BIND_HOST="127.0.0.1", MINISTACK_HOST="localhost",
            GATEWAY_PORT=str(self.port), MINISTACK_REGION=REGION, SFTP_ENABLED="0", IOT_MTLS_ENABLED="0",
            # What functions inherit: where the services are, and what Lambda derives from LoggingConfig.
            AWS_ENDPOINT_URL=f"http://{self.address}", AWS_LAMBDA_LOG_FORMAT="JSON",
            # AWS's own managed policies exist.
            MINISTACK_AUTOCREATE_AWS_MANAGED="1", TMPDIR=str(temporary), S3_DATA_DIR=str(temporary / "s3"),
        )
        processes.until("the emulator serves", self._serves, 60)

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the emulator ended: {self.log.read_text()[-2000:]}")
        try:
            return web.request(self.address, "GET", "/_ministack/health").status == 200
        except OSError:
            return False

    @property
    def environment(self):
        """What makes a program use this emulator in place of AWS."""
        return {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": f"http://{self.address}"}

    def client(self, service, key=None):
        """A client of a service, with everything allowed or with an access key."""
        identifier, secret = key or CREDENTIALS.values()
        return boto3.client(
            service, endpoint_url=f"http://{self.address}", region_name=REGION, aws_access_key_id=identifier,
            aws_secret_access_key=secret,
        )
