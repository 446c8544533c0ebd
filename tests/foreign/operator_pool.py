"""The user pool of the console's operators, as the stack creates it: a person signs in at its login page, as the console asks for.

The console itself cannot: it finds the pool at cognito-idp.REGION.amazonaws.com, whose tokens name that issuer, and the emulator
has no certificate for it. Against an issuer that can be reached it is tested in a browser, on the local stack. The emulator's login
page asks for no second factor, which the pool demands.
"""

import base64
import hashlib
import html
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import web
from stack import ROOT

FORM = "application/x-www-form-urlencoded"


def signs_in(stack):
    """Somebody who was added by the commands of docs/console.md signs in, and the ID token says what the console reads."""
    pool = stack.outputs["OperatorsPool"]
    demanded = stack.client("cognito-idp").describe_user_pool(UserPoolId=pool)["UserPool"]
    assert demanded["MfaConfiguration"] == "ON" and demanded["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"], demanded
    add_operator(stack, pool)
    # In place of the e-mail with a first password.
    password = f"Aa1!{secrets.token_urlsafe(16)}"
    stack.client("cognito-idp").admin_set_user_password(
        UserPoolId=pool, Username="olga", Password=password, Permanent=True)

    settings = stack.client("lambda").get_function_configuration(FunctionName=stack.resource("Console"))["Environment"]["Variables"]
    secret = stack.client("secretsmanager").get_secret_value(SecretId=settings["SIGN_IN_SECRET"])["SecretString"]
    asked = {
        "client": json.loads(secret)["client_id"], "callback": stack.outputs["ConsoleUrl"] + "/callback",
        "scopes": settings["SIGN_IN_SCOPES"], "verifier": secrets.token_urlsafe(48), "nonce": secrets.token_urlsafe(16)}
    assert login_page(stack, asked, callback="https://elsewhere.example/callback").status == 400
    code = log_in(stack, login_page(stack, asked), "olga", password, asked)
    claims = id_token(stack, code, asked)
    assert claims["iss"] == settings["SIGN_IN_ISSUER"], (claims, settings)
    assert (claims["aud"], claims["nonce"]) == (asked["client"], asked["nonce"]), claims
    assert claims[settings["SIGN_IN_NAME_CLAIM"]] == "olga", claims
    assert claims[settings["SIGN_IN_ROLE_CLAIM"]] == [settings["SIGN_IN_OPERATOR"]], claims


def add_operator(stack, pool):
    page = (ROOT / "docs" / "console.md").read_text()
    commands = re.search(r"```sh\nPOOL=….*?\n(.*?)```", page, re.DOTALL)[1]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **stack.emulator.environment, "POOL": pool, "PATH": path})


def login_page(stack, asked, callback=None):
    digest = hashlib.sha256(asked["verifier"].encode()).digest()
    query = urlencode({
        "response_type": "code", "client_id": asked["client"], "redirect_uri": callback or asked["callback"],
        "scope": asked["scopes"], "state": "state", "nonce": asked["nonce"], "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("=")})
    return web.request(stack.emulator.address, "GET", f"/oauth2/authorize?{query}")


def log_in(stack, page, username, password, asked):
    """Fills in the page's form; the code that it leads to."""
    assert page.status == 200, page
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    form = {name: html.unescape(value) for name, value in hidden}
    wrong = submit(stack, "/login", {**form, "username": username, "password": "wrong"})
    assert wrong.status == 200 and "location" not in wrong.headers, wrong
    done = submit(stack, "/login", {**form, "username": username, "password": password})
    assert done.status == 302 and done.headers["location"].startswith(asked["callback"] + "?"), done
    returned = parse_qs(urlsplit(done.headers["location"]).query)
    assert returned["state"] == ["state"], returned
    return returned["code"][0]


def id_token(stack, code, asked):
    form = {"grant_type": "authorization_code", "client_id": asked["client"], "redirect_uri": asked["callback"], "code": code}
    stolen = submit(stack, "/oauth2/token", {**form, "code_verifier": secrets.token_urlsafe(48)})
    assert stolen.status == 400, stolen
    answer = submit(stack, "/oauth2/token", {**form, "code_verifier": asked["verifier"]})
    assert answer.status == 200, answer
    payload = answer.json["id_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def submit(stack, path, form):
    return web.request(stack.emulator.address, "POST", path, headers={"content-type": FORM}, body=urlencode(form))
