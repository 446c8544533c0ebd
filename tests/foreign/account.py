"""The black box against a stack in an account of AWS. See README.md; the gate never runs it."""

import argparse

import boto3

import black_box


class Deployed:
    """A stack that is deployed already, with the credentials of the environment (`AWS_PROFILE`)."""

    def __init__(self, name):
        found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}

    def client(self, service):
        return boto3.client(service)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", required=True, help="the stack's name; it charges test cards and posts to its ledger")
    parser.add_argument("--token-ann", required=True, help="a token of the stack's issuer, with the role accounts:read")
    parser.add_argument("--token-bob", required=True, help="one of another subject, without a role")
    options = parser.parse_args()
    stack, tokens = Deployed(options.stack), {"ann": options.token_ann, "bob": options.token_bob}
    host = stack.outputs["ApiUrl"].removeprefix("https://")
    application = black_box.Application(stack, f"https://{host}", host, lambda subject, **_: tokens[subject])
    black_box.pays_once(application)
    print("paid once, replayed, refused, posted")
    # Five deliveries, a minute apart, and some.
    black_box.posts_each_message_once(application, seconds=600)
    print("a batch with duplicates and poison: posted once, dead letter")


if __name__ == "__main__":
    main()
