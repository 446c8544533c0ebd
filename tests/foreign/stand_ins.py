"""What the emulator cannot do, and what takes its place: each a small part that reads the deployed template.

`GAPS` is the whole list. Each gap has a check that it is still there: with a newer emulator that can do it, the check fails, and
the stand-in goes.
"""

import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import botocore.exceptions
import ministack

import processes

# The emulator's own code.
SOURCE = Path(ministack.__file__).parent
# Types of resources that the emulator refuses to create.
UNKNOWN_TYPES = [
    "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Cognito::ManagedLoginBranding",
    "AWS::Logs::QueryDefinition"]


@dataclass
class Gap:
    what: str
    instead: str
    # Takes a deployed stack, before any stand-in works for it, and the emulator's log.
    is_there: Callable


GAPS = [
    Gap("resources of CodeDeploy", "the alias moves at once; `deployment_groups` checks the alarms that each group names",
        lambda stack: "AWS::CodeDeploy::DeploymentGroup" in refused_types(stack)),
    Gap("AWS::Cognito::ManagedLoginBranding", "the login page has the emulator's style",
        lambda stack: "AWS::Cognito::ManagedLoginBranding" in refused_types(stack)),
    Gap("AWS::Logs::QueryDefinition", "the queries are left out",
        lambda stack: "AWS::Logs::QueryDefinition" in refused_types(stack)),
    Gap("metric math in alarms", "`prepare` lets an alarm watch the first of its metrics",
        lambda stack: "metric math" in refused_math(stack)),
    Gap("the routes in the OpenAPI body of an API", "`create_routes` creates them through the API of API Gateway",
        lambda stack: not stack.client("apigatewayv2").get_routes(ApiId=stack.resource("Api"))["Items"]),
    Gap("throttling of routes", "nothing throttles",
        lambda stack: not any(each.get("ThrottlingRateLimit") for each in stage(stack).get("RouteSettings", {}).values())),
    Gap("a number that a template gives as text, in the mapping of a queue", "`repair_numbers` sets it as a number",
        lambda stack: "'>=' not supported between instances of 'int' and 'str'" in stack.emulator.log.read_text()),
    Gap("a pipe to a queue", "`Pipe` moves the events, with the permissions of the pipe's role and the filter and template of "
        "the pipe",
        lambda stack: "SourceParameters" not in stack.client("pipes").describe_pipe(Name=stack.resource("Outbox"))),
    Gap("the condition key dynamodb:LeadingKeys", "roles are deployed without that condition; the local stack enforces it",
        lambda stack: not may_read_item(stack)),
    Gap("the variables that Lambda derives from a function's LoggingConfig", "the emulator is started with "
        "AWS_LAMBDA_LOG_FORMAT, which its functions inherit",
        lambda stack: not any("AWS_LAMBDA_LOG_FORMAT" in each.read_text() for each in SOURCE.glob("**/*.py"))),
    Gap("the ARN of a stream in permissions", "the pipe's stand-in may read every stream",
        lambda stack: not may_read_stream(stack)),
    Gap("the group of a schedule in permissions", "the reconciler may create schedules in every group",
        lambda stack: "schedule/default/" in (SOURCE / "core" / "iam_actions.py").read_text()),
]


def prepare(template):
    """The template without what the emulator cannot create."""
    for name, resource in list(template["Resources"].items()):
        resource.get("Properties", {}).pop("DeploymentPreference", None)
        if resource["Type"] in UNKNOWN_TYPES:
            del template["Resources"][name]
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            simplify(resource["Properties"])
        for statement in statements(resource):
            if "dynamodb:LeadingKeys" in json.dumps(statement.get("Condition")):
                del statement["Condition"]
            if statement.get("Action") == "scheduler:CreateSchedule":
                statement["Resource"] = "arn:aws:scheduler:us-east-1:000000000000:schedule/*"
    return template


def simplify(alarm):
    """Without metric math: the first metric that the expression reads."""
    first = next(each["MetricStat"] for each in alarm.pop("Metrics") if "MetricStat" in each)
    alarm.update(first["Metric"], Statistic=first["Stat"], Period=first["Period"])


def statements(role):
    """Of the policies that are a role's own, and unconditional."""
    policies = role.get("Properties", {}).get("Policies", [])
    return [each for policy in policies if "PolicyDocument" in policy for each in policy["PolicyDocument"]["Statement"]]


def stand_in(stack):
    """Does for a new stack what the emulator cannot. Returns what runs until it is stopped."""
    create_routes(stack)
    repair_numbers(stack)
    return Pipe(stack)


def refused_types(stack):
    """What the emulator says about the unknown types."""
    resources = {f"R{number}": {"Type": kind, "Properties": {}} for number, kind in enumerate(UNKNOWN_TYPES)}
    cloudformation = stack.client("cloudformation")
    try:
        cloudformation.create_change_set(
            StackName="unknown-types", ChangeSetName="unknown-types", ChangeSetType="CREATE",
            TemplateBody=json.dumps({"Resources": resources}))
    except cloudformation.exceptions.ClientError as error:
        return str(error)
    return ""


def refused_math(stack):
    """What the emulator says about an alarm with metric math."""
    queries = [
        {"Id": "one", "ReturnData": False, "MetricStat": {
            "Stat": "Sum", "Period": 60, "Metric": {"Namespace": "Math", "MetricName": "One"}}},
        {"Id": "two", "Expression": "2 * one"}]
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {
        "Metrics": queries, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}}
    cloudformation, name = stack.client("cloudformation"), "metric-math"
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Alarm": alarm}}))
    finished = lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"].endswith("COMPLETE")
    processes.until("the alarm is refused or created", finished)
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    cloudformation.delete_stack(StackName=name)
    return " ".join(each.get("ResourceStatusReason", "") for each in events)


# The API.


def stage(stack):
    return stack.client("apigatewayv2").get_stage(ApiId=stack.resource("Api"), StageName="$default")


def create_routes(stack):
    """The routes, integrations and authorizers of the API's OpenAPI body, through API Gateway's own API."""
    gateway, api, body = stack.client("apigatewayv2"), stack.resource("Api"), stack.processed["Resources"]["Api"]["Properties"]["Body"]
    authorizers = {}
    for name, scheme in body["components"]["securitySchemes"].items():
        settings = scheme["x-amazon-apigateway-authorizer"]
        created = gateway.create_authorizer(
            ApiId=api, AuthorizerType="JWT", Name=name, IdentitySource=[settings["identitySource"]],
            JwtConfiguration={
                "Issuer": stack.resolve(settings["jwtConfiguration"]["issuer"]),
                "Audience": [stack.resolve(each) for each in settings["jwtConfiguration"]["audience"]],
            })
        authorizers[name] = created["AuthorizerId"]
    for path, methods in body["paths"].items():
        # Those of a function that exists only under a condition are under it, too.
        for method, operation in (stack.resolve(methods) or {}).items():
            settings = operation["x-amazon-apigateway-integration"]
            integration = gateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=settings["uri"],
                PayloadFormatVersion=settings["payloadFormatVersion"])
            names = [name for each in operation.get("security", []) for name in each if name in authorizers]
            authorization = {"AuthorizationType": "JWT", "AuthorizerId": authorizers[names[0]]} if names else {}
            verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            gateway.create_route(
                ApiId=api, RouteKey=f"{verb} {path}", Target=f"integrations/{integration['IntegrationId']}", **authorization)
    cors = body.get("x-amazon-apigateway-cors")
    if cors:
        gateway.update_api(ApiId=api, CorsConfiguration={name[0].upper() + name[1:]: value for name, value in cors.items()})


# The mapping of the queue.


def mappings(stack):
    return [each for each in stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
            if f":{stack.name}-" in each["FunctionArn"]]


def repair_numbers(stack):
    for each in mappings(stack):
        if "ScalingConfig" not in each:
            continue
        limit = int(each["ScalingConfig"]["MaximumConcurrency"])
        stack.client("lambda").update_event_source_mapping(
            UUID=each["UUID"], ScalingConfig={"MaximumConcurrency": limit}, BatchSize=int(each["BatchSize"]))


# The pipe.


class Pipe:
    """Reads the stream of the Payments table and sends what matches to the queue, as the deployed pipe would."""

    def __init__(self, stack):
        properties = stack.processed["Resources"]["Outbox"]["Properties"]
        filters = properties["SourceParameters"]["FilterCriteria"]["Filters"]
        self.patterns = [json.loads(each["Pattern"]) for each in filters]
        self.template = properties["TargetParameters"]["InputTemplate"]
        pipe = stack.client("pipes").describe_pipe(Name=stack.resource("Outbox"))
        self.source, queue = pipe["Source"], pipe["Target"].rsplit(":", 1)[-1]
        key = key_of_role(stack, pipe["RoleArn"].rsplit("/", 1)[-1], every_stream=True)
        self.streams, self.queues = stack.client("dynamodbstreams", key), stack.client("sqs", key)
        self.queue = f"{stack.emulator.environment['AWS_ENDPOINT_URL']}/000000000000/{queue}"
        self.failure, self.stopped = None, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopped.set()
        self.thread.join()
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            iterators = {}
            while not self.stopped.wait(0.3):
                for shard in self.streams.describe_stream(StreamArn=self.source)["StreamDescription"]["Shards"]:
                    identifier = shard["ShardId"]
                    iterator = iterators.get(identifier) or self.streams.get_shard_iterator(
                        StreamArn=self.source, ShardId=identifier, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
                    page = self.streams.get_records(ShardIterator=iterator)
                    for record in page["Records"]:
                        self._move(record)
                    iterators[identifier] = page.get("NextShardIterator", iterator)
        except Exception as failure:  # Shown by stop().
            self.failure = failure

    def _move(self, record):
        if not any(matches(pattern, record) for pattern in self.patterns):
            return
        value = lambda path: str(at(record, path[1].split(".")) or "")
        body = re.sub(r"<\$\.([^>]+)>", value, self.template)
        self.queues.send_message(QueueUrl=self.queue, MessageBody=json.dumps(json.loads(body)))


def matches(pattern, value):
    """EventBridge's patterns: a list names the accepted values."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(matches(each, value.get(name)) for name, each in pattern.items())
    return value in pattern


def at(value, path):
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def key_of_role(stack, role, every_stream=False):
    """The access key of a new user that may do what a role may: nobody but the pipe's service can take the role."""
    iam = stack.client("iam")
    policies = [iam.get_role_policy(RoleName=role, PolicyName=name) for name in iam.list_role_policies(RoleName=role)["PolicyNames"]]
    allowed = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    for statement in allowed:
        if every_stream and "dynamodb:GetRecords" in statement["Action"]:
            statement["Resource"] = "*"
    return key(stack, f"as-{role}-{every_stream}", allowed)


# Permissions.


def key(stack, user, allowed):
    """The access key of a new user that may do this."""
    iam = stack.client("iam")
    iam.create_user(UserName=user)
    document = {"Version": "2012-10-17", "Statement": allowed}
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=json.dumps(document))
    made = iam.create_access_key(UserName=user)["AccessKey"]
    return made["AccessKeyId"], made["SecretAccessKey"]


def allows(call):
    """Whether a call is allowed."""
    try:
        call()
        return True
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return False


def may_read_stream(stack):
    """Whether the pipe's role may, as it is deployed."""
    pipe = stack.client("pipes").describe_pipe(Name=stack.resource("Outbox"))
    streams = stack.client("dynamodbstreams", key_of_role(stack, pipe["RoleArn"].rsplit("/", 1)[-1]))
    return allows(lambda: streams.describe_stream(StreamArn=pipe["Source"]))


def may_read_item(stack):
    """Whether a user may who may read this item alone."""
    table = stack.resource("Records")
    condition = {"Null": {"dynamodb:LeadingKeys": "false"}, "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["one"]}}
    reader = key(stack, f"{stack.name}-reader-of-one", [{
        "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}",
        "Condition": condition}])
    return allows(lambda: stack.client("dynamodb", reader).get_item(TableName=table, Key={"id": {"S": "one"}}))


# The gradual deployment.


def deployment_groups(whole, stack):
    """The names of the alarms by which each function's deployment would be rolled back; each must exist. `whole` is the
    template with what the stack was created without."""
    pages = stack.client("cloudwatch").get_paginator("describe_alarms").paginate()
    alarms = {alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]}
    groups = {}
    for name, resource in whole["Resources"].items():
        preference = resource.get("Properties", {}).get("DeploymentPreference")
        if preference:
            groups[name] = stack.resolve(preference["Alarms"])
            unknown = set(groups[name]) - alarms
            assert not unknown, f"{name} names alarms that do not exist: {unknown}"
    return groups
