"""What sits at the other end of an agent's channel: an honest agent, or whatever a guest puts there instead."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Answer = Callable[[str, dict], object]
NOTHING = object()
"""An agent that stays silent answers this."""


class Refused(Exception):
    """What an agent answers when it cannot."""


@contextmanager
def peer(path: Path, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    """Take one speaker after another, as QEMU does, and let `talk` have each."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line, suppress(OSError):
                talk(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    path.unlink()


def agent(answer: Answer, *, before: bytes = b"") -> Callable[[socket.socket], None]:
    """An agent that greets as agents do and answers as `answer` says; `before` is what the line still holds."""

    def talk(line: socket.socket) -> None:
        line.sendall(before)
        for question in line.makefile("rb"):
            asked = json.loads(question.lstrip(b"\xff"))
            arguments = asked.get("arguments", {})
            if asked["execute"] == "guest-sync-delimited":
                line.sendall(b'{"error": {"class": "GenericError", "desc": "stray"}}\n\xff')
                line.sendall(json.dumps({"return": arguments["id"]}).encode() + b"\n")
                continue
            try:
                said = answer(asked["execute"], arguments)
            except Refused as refusal:
                line.sendall(json.dumps({"error": {"desc": str(refusal)}}).encode() + b"\n")
            else:
                if said is not NOTHING:
                    line.sendall(
                        said if isinstance(said, bytes) else json.dumps({"return": said}).encode() + b"\n"
                    )

    return talk


def with_files(files: dict[str, bytes], **answers: object) -> Answer:
    """An agent of a guest that has these files, and says what is given here in place of the truth."""
    sought: dict[int, int] = {}

    def answer(command: str, arguments: dict) -> object:
        if command in answers:
            return answers[command]
        contents = list(files.values())
        if command == "guest-file-open":
            if arguments["path"] not in files:
                raise Refused("no such file")
            return list(files).index(arguments["path"])
        if command == "guest-file-read":
            begin = sought.pop(arguments["handle"], 0)
            content = contents[arguments["handle"]][begin:][: arguments["count"]]
            return {"count": len(content), "buf-b64": b64encode(content).decode(), "eof": True}
        if command == "guest-file-seek":
            size = len(contents[arguments["handle"]])
            sought[arguments["handle"]] = size if arguments["whence"] == "end" else arguments["offset"]
            return {"position": sought[arguments["handle"]], "eof": False}
        return {}

    return answer
