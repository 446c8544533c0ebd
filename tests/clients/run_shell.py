"""Sends requests by a file of curl's lines: run_shell.py FILE. Takes requests and prints endings as run.py does.

The lines find `url` and perhaps `timeout` in the environment, and the files `headers` and `body`; they write the body of
the answer to the file `answer` and its status to standard output.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import run


def post_by(file):
    def post(url, headers, body, timeout=None):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "headers").write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
            Path(folder, "body").write_text(body)
            environment = {**os.environ, "url": url, **({"timeout": str(timeout)} if timeout else {})}
            output = subprocess.run(["sh", file], cwd=folder, env=environment, capture_output=True, text=True)
            if output.returncode:
                raise RuntimeError(output.stderr)
            return int(output.stdout), Path(folder, "answer").read_text()

    return post


if __name__ == "__main__":
    run.serve(post_by(os.path.abspath(sys.argv[1])))
