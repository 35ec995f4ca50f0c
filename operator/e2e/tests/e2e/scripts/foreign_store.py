"""Plays a store elsewhere, as much of one as another store needs to move objects to it. It runs until it is ended."""

import http.server


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.answer(200)

    def do_GET(self):
        self.answer(200, b"MinIO")

    def do_HEAD(self):
        self.answer(200)

    def do_DELETE(self):
        self.answer(204)


http.server.ThreadingHTTPServer(("", 9000), Store).serve_forever()
