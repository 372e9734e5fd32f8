"""GLUE's test server, with the files that it requires for tasks that kdbench does not have."""

from kdbench.data.test_server import Server, ServerFile

_BINARY = ("0", "1")

SERVER = Server(
    title="GLUE",
    page="https://gluebenchmark.com/submit",
    others=(
        ServerFile("CoLA", 1063, _BINARY, filler="1"),
        ServerFile("STS-B", 1379, (), filler="2.500", limits=(0.0, 5.0)),
        ServerFile("WNLI", 146, _BINARY, filler="0"),
        ServerFile("AX", 1104, ("entailment", "neutral", "contradiction"), filler="contradiction"),  # as MNLI
    ),
)
