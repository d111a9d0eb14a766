"""A small model, `trax-triplet serve` in a process of its own, and a browser on its page."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from bare_python import PATH

from trax_triplet import TrainedModel, Vocabulary


def random_model(threshold=0.25, seed=0):
    vocabulary = Vocabulary.build(["How old are you?", "Where is the station?"], buckets=4)
    random = np.random.default_rng(seed)
    shapes = {"embedding": (len(vocabulary), 8), "lstm/kernel": (16, 32), "lstm/bias": 32}
    weights = {name: random.normal(size=shape) for name, shape in shapes.items()}
    return TrainedModel(weights, vocabulary, {"pooling": "last", "threshold": threshold})


class Server:
    """`trax-triplet serve` in a process of its own."""

    def __init__(self, model, *more):
        command = [sys.executable, "-W", "error", "-m", "trax_triplet", "serve", "--port", "0"]
        # Where a shell runs the tests in the background, Ctrl-C is ignored: a process inherits
        # that, but no handler.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [*command, "--model", str(model), *more],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": PATH},
        )
        signal.signal(signal.SIGINT, before)
        line = self.process.stderr.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        self.address = ("127.0.0.1", int(self.url.rsplit(":", 1)[1]))


@contextlib.contextmanager
def chromium_page(width):
    """Context: a page of a browser, the addresses that it asks for, and what goes wrong in it."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=options)
        context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme="dark")
        page, asked, wrong = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page, asked, wrong
        browser.close()
