"""GLUE's test server."""

from kdbench.data.test_server import Server

SERVER = Server(title="GLUE", page="https://gluebenchmark.com/submit")
