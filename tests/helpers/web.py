"""A server on this machine that tests download from."""

import contextlib
import hashlib
import http.server
import socket
import threading
import time

from l2s_jax.runs.published import Published


class Web:
    """A loopback server of bytes by path; `cut` sends only half of what it announces."""

    def __init__(self):
        self.files, self.asked, self.cut, self.delay = {}, [], False, 0.0
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append(self.path)
                time.sleep(web.delay)
                content = web.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the test that gives up is gone by now
                    self.wfile.write(content[: len(content) // 2] if web.cut else content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def publish(self, name, content, sha256=None):
        self.files[f"/{name}"] = content
        url = f"http://127.0.0.1:{self.server.server_port}/{name}"
        return Published(name, url, sha256 or hashlib.sha256(content).hexdigest())


def nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
