"""The store's conformance suite and tests on implementations of DynamoDB that nobody here wrote."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import processes
import web
from emulator import Emulator
from stack import ROOT

# What an implementation gets wrong: the tests that fail on it, with a text that must be in the output. Both measure binary
# values by their base64, a third too large: ministack those of a transaction (4 MB), moto those of an item (400 KB). So they
# reject settling writes with long answers, which the library then records without.
GAPS = {
    "ministack": {
        "the_dynamodb_store_conforms": "checks failed: an_answer_of_any_length_is_read_back_whole\n",
        "the_dynamodb_store_conforms_in_a_shared_table_with_a_sort_key":
            "checks failed: an_answer_of_any_length_is_read_back_whole\n",
        "a_long_answer_is_written_in_the_same_requests_and_replayed_whole_elsewhere": "failed: 7000000 bytes\n",
    },
    "moto": {
        "the_dynamodb_store_conforms":
            "checks failed: an_answer_of_any_length_is_read_back_whole, the_parts_of_an_answer_are_those_of_its_own_record, "
            "a_long_answer_and_the_effects_are_written_together_or_not_at_all, "
            "another_write_that_settles_without_a_claim_is_not_taken_for_our_own\n",
        "the_dynamodb_store_conforms_in_a_shared_table_with_a_sort_key": "checks failed: an_answer_of_any_length_is_read_back_whole",
        "a_long_answer_is_written_in_the_same_requests_and_replayed_whole_elsewhere": "failed: 2000000 bytes\n",
        "the_lost_reply_to_a_long_answer_is_recognised": "matches!(again, Ok(Outcome::Replayed",
    },
}


def run(folder):
    for name, start in (("ministack", ministack), ("moto", moto)):
        address = start(folder)
        passed, failed, output = tests(address)
        assert failed == GAPS[name].keys(), f"{name} {version(name)}: {failed ^ GAPS[name].keys()}\n{output[-6000:]}"
        missing = [text for text in GAPS[name].values() if text not in output]
        assert not missing, f"{name} fails for another reason than {missing}\n{output[-6000:]}"
        yield f"the store on {name} {version(name)}: {passed} tests passed, {len(failed)} fail as listed"


def ministack(folder):
    folder.mkdir()
    return Emulator(folder, enforced=False).address


def moto(folder):
    folder.mkdir(exist_ok=True)
    port = processes.free_port()
    processes.start([Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port], folder / "moto.log")
    address = f"127.0.0.1:{port}"

    def serves():
        try:
            return web.request(address, "GET", "/moto-api/").status == 200
        except OSError:
            return False
    processes.until("moto serves", serves)
    return address


def tests(address):
    """How many tests passed, the names of those that failed, and the output."""
    command = ["cargo", "test", "--workspace", "--locked", "--test", "end_to_end", "dynamodb_store"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "FOREIGN_DYNAMODB": address}, check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    results = re.findall(r"^test dynamodb_store::(\w+) \.\.\. (ok|FAILED)", done.stdout, re.MULTILINE)
    assert results, done.stdout[-4000:]
    failed = {name for name, result in results if result == "FAILED"}
    return len(results) - len(failed), failed, done.stdout
