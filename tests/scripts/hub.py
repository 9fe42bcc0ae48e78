"""A small replica of the servers that fetch-models asks, with faults to order: the hub with
its API and its redirects to a store on another host, and a plain file server."""

import hashlib
import http.server
import json
import re
import socketserver
import threading
import urllib.parse

COMMIT = "c0ffee" * 6 + "c0de"


class Listener(http.server.ThreadingHTTPServer):
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's also asks the name server
        self.server_name, self.server_port = self.server_address


class Server:
    """Serves `files` {path: bytes} from a port of its own; requests are kept in `seen`."""

    def __init__(self):
        self.files, self.seen, self.lock = {}, [], threading.Lock()
        self.cuts = {}       # path -> how often yet the connection is cut half-way
        self.statuses = {}   # path -> [status, ...] answered first; the last one stays
        self.ranges = True
        self.lengths = True  # Content-Length is sent
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self):
                server.answer(self, body=True)

            def do_HEAD(self):
                server.answer(self, body=False)

            def log_message(self, *arguments):
                pass

        self.http = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def requests(self, path):
        return [headers for seen, headers in self.seen if seen == path]

    def answer(self, request, body):
        path = urllib.parse.unquote(request.path)
        with self.lock:
            self.seen.append((path, dict(request.headers)))
            status = self.next_status(path)
        if status:
            request.send_response(status)
            request.send_header("X-Error-Message", "as ordered")
            request.end_headers()
        else:
            self.serve(request, path, body)

    def next_status(self, path):
        statuses = self.statuses.get(path, [])
        return statuses.pop(0) if len(statuses) > 1 else statuses[0] if statuses else None

    def serve(self, request, path, body):
        if path in self.files:
            self.send(request, path, self.files[path], body)
        else:
            request.send_error(404)

    def send(self, request, path, data, body, headers=()):
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start = int(asked[1]) if asked and self.ranges else 0
        if start >= len(data) > 0:
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range",
                                f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.lengths:
            request.send_header("Content-Length", str(len(data) - start))
        for name, value in headers:
            request.send_header(name, value)
        request.end_headers()
        rest = data[start:]
        with self.lock:
            cut = self.cuts.get(path, 0)
            self.cuts[path] = cut - 1
        if body:
            request.wfile.write(rest[:len(rest) // 2] if cut > 0 else rest)


class Hub(Server):
    """Repositories {name: {file: bytes}}; large files live in `store`."""

    def __init__(self, store, large=2000):
        super().__init__()
        self.repositories, self.store, self.large = {}, store, large
        self.gated = {}  # repository -> the token that it wants
        self.listing_sums = True

    def add(self, repository, files):
        self.repositories[repository] = files
        for data in files.values():
            self.store.files["/" + hashlib.sha256(data).hexdigest()] = data

    def listing(self, files):
        def record(name, data):
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"rfilename": name}
            if self.listing_sums:
                entry |= {"size": len(data), "blobId": blob}
            if self.listing_sums and len(data) > self.large:
                entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            return entry
        return {"sha": COMMIT, "siblings": [record(n, d) for n, d in files.items()]}

    def serve(self, request, path, body):
        api = re.fullmatch(r"/api/models/([^?]+)\?blobs=true", path)
        file = re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", path)
        repository = (api or file) and (api or file)[1]
        if repository not in self.repositories:
            request.send_error(404)
            return
        wanted = self.gated.get(repository)
        if wanted and file and request.headers.get("Authorization") != f"Bearer {wanted}":
            request.send_error(401)
            return
        files = self.repositories[repository]
        if api:
            self.send(request, path, json.dumps(self.listing(files)).encode(), body)
        elif file[2] not in files:
            request.send_error(404)
        elif len(files[file[2]]) > self.large:
            self.redirect(request, files[file[2]])
        else:
            data = files[file[2]]
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self.send(request, path, data, body, [("ETag", f'"{blob}"')])

    def redirect(self, request, data):
        digest = hashlib.sha256(data).hexdigest()
        request.send_response(302)
        request.send_header("X-Linked-Etag", f'"{digest}"')
        request.send_header("X-Linked-Size", str(len(data)))
        request.send_header("Location", f"{self.store.url}/{digest}")
        request.end_headers()
