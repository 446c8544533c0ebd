"""Deploys the application with the SAM command line onto an emulator of AWS that nobody here wrote, with permissions enforced,
and checks from outside what it does. See README.md.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import black_box
import operator_pool
import processes
import stand_ins
import stores
from emulator import Emulator
from outside import Outside
from stack import ROOT, Refused, Stack, read_template

FOLDER = ROOT / "target" / "foreign" / "run"
BUILD = ROOT / ".aws-sam" / "build"
PROGRAMS = ROOT / "target" / "debug"
# So that messages are soon dead letters: values of the first deployment, next to the defaults.
QUICK = {"Architecture": "x86_64", "WorkerTimeoutSeconds": "3", "LedgerVisibilitySeconds": "5", "LedgerMaxReceiveCount": "2"}


def step(text, started=time.monotonic()):
    print(f"    {text} ({time.monotonic() - started:.0f} s)", flush=True)


def project(name, template, programs):
    """A folder as it is after `sam build`, with the template changed for the emulator and the programs without debug
    information, which would only be compressed and uploaded."""
    folder = FOLDER / name
    build = folder / ".aws-sam" / "build"
    build.mkdir(parents=True)
    (build / "template.yaml").write_text(json.dumps(stand_ins.prepare(template)))
    for function, program in programs.items():
        (build / function).mkdir()
        subprocess.run(["strip", "--strip-debug", "-o", build / function / "bootstrap", program], check=True)
    shutil.copy(ROOT / "samconfig.toml", folder)
    return folder


def guide(program):
    """The line that begins with this program in the guide's section on deployment."""
    section = (ROOT / "docs/guides/operate.md").read_text().partition("\n## Deploy\n")[2].partition("\n## ")[0]
    [line] = re.findall(rf"^{program} .*$", section, re.MULTILINE)
    return line


def creates_the_secret(emulator):
    """The guide's command, with a key in it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", guide("aws").replace("sk_test_…", "sk_test_foreign")], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **emulator.environment, "PATH": path})
    assert emulator.client("secretsmanager").get_secret_value(SecretId="payments/provider")["SecretString"]


def guided(template, chosen):
    """The answers to what `sam deploy --guided` asks: stack, Region, each parameter, and what to do."""
    parameters = [chosen.get(name, "") for name in template["Parameters"]]
    return ["", "us-east-1", *parameters, "n", "y", "n", "y", "", ""]


def sends_the_outbox_again(application):
    """The runbook's command, as it is printed there."""
    page = (ROOT / "docs" / "operations.md").read_text()
    command = re.search(r"<!-- Run by tests/foreign. -->\s+```sh\n(.*?)```", page, re.DOTALL)[1]
    stack, ann = application.stack, application.token("ann")
    account = black_box.name("account")
    assert application.pay(ann, black_box.name("key"), account).status == 201
    application.balance(ann, account, 1)
    outputs = {"PAYMENTS_TABLE": stack.outputs["PaymentsTable"], "LEDGER_QUEUE_URL": stack.outputs["LedgerQueueUrl"]}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    before = len(postings(stack, "replayed"))
    # Version 1 of the command line, the one that pip has, takes the endpoint of SQS from its own list otherwise.
    command = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n' + command
    sent = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **stack.emulator.environment, **outputs, "PATH": path})
    events = sent.stdout.count("MessageId")
    assert events >= 2, sent.stdout
    processes.until("each is a duplicate", lambda: len(postings(stack, "replayed")) == before + events)
    application.balance(ann, account, 1)


def postings(stack, outcome):
    """The worker's lines with this outcome."""
    return [line for line in stack.log_lines("LedgerWorker") if line.get("fields", {}).get("outcome") == outcome]


def kill_function(emulator, stack, function):
    """SIGKILL for the processes of a function."""
    wanted = f"AWS_LAMBDA_FUNCTION_NAME={stack.resource(function)}".encode()
    killed = 0
    for process in Path("/proc").iterdir():
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
        except (OSError, ValueError):
            continue
    assert killed, f"no process of {function}"


def is_enforced(emulator):
    """Whether somebody without permissions can do nothing, or every check of permissions would be worth nothing."""
    nobody = stand_ins.key(emulator, "nobody", [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}])
    assert not stand_ins.allows(lambda: emulator.client("dynamodb", nobody).list_tables()), "permissions are not enforced"


def run():
    built = {path.parent.name: path for path in BUILD.glob("*/bootstrap")}
    template, whole = read_template(BUILD / "template.yaml"), read_template(BUILD / "template.yaml")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    emulator, outside = Emulator(FOLDER), Outside(PROGRAMS / "local", FOLDER)
    step(f"ministack {emulator.version} and the provider serve")
    is_enforced(emulator)
    creates_the_secret(emulator)
    console = {"ConsoleLogin": "Issuer", "ConsoleClientId": "console"}
    chosen = {"Stage": "development", "JwtIssuer": outside.issuer, "ProviderUrl": outside.provider, **console, **QUICK}
    folder = project("payments", template, built)

    stack = Stack(emulator, "payments", folder)
    assert guide("sam") == "sam build && sam deploy --guided", "the guide deploys in another way than this"
    stack.deploy("--guided", answers=guided(template, chosen))
    step("created: development, by the guide's commands")
    processes.until("the emulator polls the queue", lambda: "ESM SQS poller" in emulator.log.read_text(), 10)
    for gap in stand_ins.GAPS:
        assert gap.is_there(stack), f"the emulator can do this now, so its stand-in goes: {gap.what}"
    pipe = stand_ins.stand_in(stack)
    application = reach(emulator, stack, outside)
    unknown = black_box.leaves_unknown(application)
    black_box.shows_unknown(application)
    step("an outcome is unknown, and the console shows it")
    black_box.pays_once(application)
    step("paid once, replayed, refused, posted")
    black_box.survives_a_kill(application, outside.charges, lambda: kill_function(emulator, stack, "PaymentsApi"))
    step("killed after the charge: charged once, posted once")
    black_box.posts_each_message_once(application)
    step("a batch with duplicates and poison: posted once, dead letter")
    sends_the_outbox_again(application)
    step("the outbox sent again by the runbook's command: every event is a duplicate")
    black_box.is_settled_without_its_client(application, unknown)
    step("settled without its client: from the stream, by a one-time schedule")

    before = {name: stack.version(name) for name in ("Reconciler", "PaymentsApi")}
    stack.deploy("--no-confirm-changeset", "--parameter-overrides", *pairs({**chosen, "ScanIntervalSeconds": "60"}))
    assert stack.environment("Reconciler")["SCAN_INTERVAL_S"] == "60", stack.environment("Reconciler")
    assert stack.version("Reconciler") != before["Reconciler"] and stack.version("PaymentsApi") == before["PaymentsApi"]
    black_box.pays_once(application)
    step("changed: the reconciler that runs has the new setting, the API stays as it was")

    production = Stack(emulator, "payments-production", folder)
    chosen = {"JwtIssuer": outside.issuer, "ProviderUrl": outside.provider, "Architecture": "x86_64"}
    arguments = ["--config-env", "production", "--no-confirm-changeset", "--parameter-overrides"]
    try:
        production.deploy(*arguments, *pairs(chosen))
        raise AssertionError("production was created without Stage")
    except Refused as refused:
        assert "Stage" in str(refused), refused
    arguments += pairs({"Stage": "production", "ConsoleLogin": "Cognito", **chosen})
    production.deploy(*arguments)
    step("created: production, as a second stack; without Stage it was refused")
    second = stand_ins.stand_in(production)
    black_box.pays_once(reach(emulator, production, outside))
    is_production(production, whole)
    has_own_metrics(stack, production)
    step("production: paid once; alarms, deployment groups, deletion protection, metrics of its own")
    operator_pool.signs_in(production)
    step("production: an operator signs in at the user pool's page")
    before = production.version("LedgerWorker")
    production.deploy(*arguments, "WorkerTimeoutSeconds=20", "DeletionProtection=false")
    assert production.version("LedgerWorker") != before
    black_box.pays_once(reach(emulator, production, outside))
    step("production: changed")

    conforms(emulator, outside)
    step("the vectors of the HTTP contract")
    for pipe, each in ((pipe, stack), (second, production)):
        pipe.stop()
        each.delete()
        remains(each)
    step("deleted: both tables and the dead letters remain")
    for done in stores.run(FOLDER / "stores"):
        step(done)


def reach(emulator, stack, outside):
    host = f"{stack.resource('Api')}.execute-api.localhost:{emulator.port}"
    return black_box.Application(stack, emulator.address, host, outside.token)


def is_production(stack, whole):
    """What Stage=production stands for; `whole` is the template that SAM built."""
    groups = stand_ins.deployment_groups(whole, stack)
    assert len(groups) == 2 and all(len(alarms) >= 3 for alarms in groups.values()), groups
    for table in ("Records", "Payments"):
        assert stack.client("dynamodb").describe_table(TableName=stack.resource(table))["Table"]["DeletionProtectionEnabled"]
    logs = stack.client("logs").describe_log_groups(logGroupNamePrefix=stack.outputs["PaymentsApiLogGroup"])["logGroups"]
    assert [each["retentionInDays"] for each in logs] == [365], logs


def has_own_metrics(*stacks):
    """Each stack's functions write their metrics under its own name."""
    for stack in stacks:
        lines = stack.log_lines("PaymentsApi")
        namespaces = {each["Namespace"] for line in lines for each in line.get("_aws", {}).get("CloudWatchMetrics", [])}
        assert namespaces == {stack.name}, namespaces


def conforms(emulator, outside):
    """The vectors of the HTTP contract, against the fixture as a function."""
    template = read_template(ROOT / "tests" / "fixture" / "template.yaml")
    template["Resources"]["Fixture"]["Properties"]["CodeUri"] = "Fixture"
    folder = project("fixture", template, {"Fixture": PROGRAMS / "fixture"})
    fixture = Stack(emulator, "fixture", folder)
    fixture.deploy("--stack-name", fixture.name, "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset",
                   "--parameter-overrides", f"JwtIssuer={outside.issuer}")
    stand_ins.create_routes(fixture)
    url = f"http://{emulator.address}/_aws/execute-api/{fixture.resource('Api')}/$default"
    command = [PROGRAMS / "http-conformance", "--url", url, "--token-url", outside.token_url("fixture")]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-8000:]


def remains(stack):
    """What outlives a stack, and nothing else."""
    tables = stack.client("dynamodb").list_tables()["TableNames"]
    queues = stack.client("sqs").list_queues()["QueueUrls"]
    functions = [each["FunctionName"] for each in stack.client("lambda").list_functions()["Functions"]]
    schedules = [each["Name"] for each in stack.client("scheduler").list_schedules()["Schedules"]]
    there = set(stack.resources.values()) & {*tables, *queues, *functions, *schedules}
    assert there == {stack.outputs[name] for name in ("RecordsTable", "PaymentsTable", "LedgerDeadLettersUrl")}, there


def pairs(values):
    return [f"{name}={value}" for name, value in values.items()]


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Ctrl-C and an end from outside take the same way as a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run()
    finally:
        processes.stop_all()


if __name__ == "__main__":
    main()
