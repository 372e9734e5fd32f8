"""GLUE's test server, with the files that it requires for tasks that kdbench does not have."""

from kdbench.data.test_server import Server, ServerFile

SERVER = Server(
    title="GLUE",
    page="https://gluebenchmark.com/submit",
    others=(
        ServerFile("STS-B", 1379, (), filler="2.500", limits=(0.0, 5.0)),
        ServerFile("AX", 1104, ("entailment", "neutral", "contradiction"), filler="contradiction"),  # as MNLI
    ),
)
