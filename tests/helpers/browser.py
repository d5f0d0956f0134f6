"""Headless Chromium over its debugging pipe: what a page asks for, logs and does when it is clicked."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium")

LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes to 4."""

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """One page, and everything that it has asked for and logged."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._number, self._session = commands, answers, 0, None
        self.requests, self.logged = [], []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)

    def open(self, url):
        """Goes to an address and waits until it has been read."""
        loader = self._call("Page.navigate", url=url)["loaderId"]
        while True:
            event = self._read()
            of = event.get("params", {})
            # The event of the page before can come late, where the machine is busy.
            if event.get("method") == "Page.lifecycleEvent" and (of["loaderId"], of["name"]) == (
                loader,
                "load",
            ):
                return

    def run(self, script):
        """The value of an expression in the page."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, script, seconds=30):
        """Until an expression holds: pictures come when they come."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.01)

    def press(self, key):
        """A key, as a person presses it: a letter, or `Tab`, `ArrowDown`, `Backspace` ..."""
        virtual = {"Tab": 9, "Backspace": 8, "ArrowUp": 38, "ArrowDown": 40}
        code = virtual.get(key) or ord(key.upper())
        text = {"text": key} if len(key) == 1 else {}
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", **facts, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def download_to(self, folder):
        """What the page offers to save goes into a folder, unasked."""
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def resize(self, width, height):
        """Gives the window another size, CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self):
        """What is in the window, as PNG bytes."""
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _read(self):
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has gone"
            text += byte
        message = json.loads(text)
        kind, facts = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        if kind in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.logged.append(facts)
        return message


@contextmanager
def chromium_page(folder, seconds=120):
    """A page of a fresh Chromium, which is stopped at the end and after `seconds` at the latest."""
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    command = [sys.executable, "-c", LAUNCH, str(their_read), str(their_write), CHROMIUM, *OPTIONS]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={folder}"], pass_fds=(their_read, their_write),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(their_read)
    os.close(their_write)
    watch = threading.Timer(seconds, process.kill)
    watch.start()
    try:
        with os.fdopen(our_write, "wb") as commands, os.fdopen(our_read, "rb") as answers:
            yield Page(commands, answers)
    finally:
        watch.cancel()
        process.terminate()
        process.wait(20)
