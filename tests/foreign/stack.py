"""A stack of the application, deployed by the SAM command line."""

import json
import os
import re
import subprocess
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent.parent
SAM = ROOT / "target" / "sam" / "bin" / "sam"


class Refused(Exception):
    """The command line or CloudFormation refused a deployment."""


class Stack:
    """`project` is a folder with what `sam build` left and a samconfig.toml."""

    def __init__(self, emulator, name, project):
        self.emulator, self.name, self.project = emulator, name, project

    def client(self, service, key=None):
        return self.emulator.client(service, key)

    def deploy(self, *arguments, answers=None):
        """`sam deploy` with these arguments; answers are for what `--guided` asks."""
        output = self._sam(["deploy", "--no-progressbar", *arguments], answers)
        self._read()
        return output

    def delete(self):
        self._sam(["delete", "--stack-name", self.name, "--no-prompts", "--region", "us-east-1"])

    def _sam(self, arguments, answers=None):
        environment = {**os.environ, **self.emulator.environment, "SAM_CLI_TELEMETRY": "0"}
        done = subprocess.run(
            [SAM, *map(str, arguments)], cwd=self.project, env=environment, text=True, check=False,
            input="".join(f"{answer}\n" for answer in answers or []), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise Refused(f"sam {' '.join(map(str, arguments))}\n{done.stdout[-4000:]}")
        return done.stdout

    def _read(self):
        cloudformation = self.client("cloudformation")
        found = cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
        self.parameters = {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}
        resources = cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.name)
        self.resources = {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for page in resources for each in page["StackResourceSummaries"]}
        body = cloudformation.get_template(StackName=self.name, TemplateStage="Processed")["TemplateBody"]
        self.processed = json.loads(body) if isinstance(body, str) else body

    def resource(self, logical):
        """The name, id or ARN that a resource got."""
        return self.resources[logical]

    def resolve(self, value):
        """The value with references replaced: those that stand-ins meet in the deployed template."""
        if value == {"Ref": "AWS::NoValue"}:
            return None
        if isinstance(value, dict) and "Ref" in value:
            return self._reference(value["Ref"])
        if isinstance(value, dict) and "Fn::Sub" in value:
            return re.sub(r"\$\{([^}]+)\}", lambda name: self._reference(name[1]), value["Fn::Sub"])
        if isinstance(value, dict) and "Fn::If" in value:
            condition, then, otherwise = value["Fn::If"]
            return self.resolve(then if self._holds(condition) else otherwise)
        if isinstance(value, dict):
            return {name: self.resolve(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        return value

    def _reference(self, name):
        pseudo = {
            "AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "AWS::StackName": self.name}
        resource, _, attribute = name.partition(".")
        if attribute == "Arn":
            return f"arn:aws:lambda:us-east-1:000000000000:function:{self.resources[resource]}"
        return pseudo.get(name) or self.parameters.get(name) or self.resources[name]

    def _holds(self, condition):
        # What a condition decides can be seen by a resource that it creates.
        return {"IsWatched": "AlarmTopic", "HasConsole": "Console"}[condition] in self.resources

    def environment(self, function):
        """The environment of the version that serves."""
        settings = self.client("lambda").get_function_configuration(FunctionName=self.resource(function), Qualifier="live")
        return settings["Environment"]["Variables"]

    def log_lines(self, function):
        """What a function has written to its log group, as far as it is JSON."""
        logs, group, lines = self.client("logs"), self.outputs[f"{function}LogGroup"], []
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
            lines += [event["message"] for event in events if event["message"].startswith("{")]
        return [json.loads(line) for line in lines]

    def version(self, function):
        return self.client("lambda").get_alias(FunctionName=self.resource(function), Name="live")["FunctionVersion"]


def read_template(path):
    return yaml_parse(Path(path).read_text())
