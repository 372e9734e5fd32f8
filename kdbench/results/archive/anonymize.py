"""Remove from a study who ran it and where.

Model folders keep their own name, in commands and options behind `PATH/TO/`. The folder of the data becomes `DIR`. Any
other absolute path becomes `PATH-` and six digits, equal for equal paths, because an option may tell runs apart by a
path. Host names, process numbers and jobs are left out; host names within messages become `HOST`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

DIR, HOST = "DIR", "HOST"
PATH = re.compile(r"(?<![\w./<~-])(?:[A-Za-z]:\\|~[\w.-]*/|/(?=[\w.~-]))[^\s'\"`,;:()\[\]{}<>|]*")
FOLDER_OPTIONS = ("--results", "--glue-dir", "--out")


class Anonymizer:
    """Replaces private texts.

    Args:
        known: paths and their replacements. They may be relative or contain spaces; names without a slash are kept,
            because they may be part of another word.
        hosts: names of machines.
        sections: methods, variants and `teacher`, whose settings in a command are kept. Settings of other sections,
            such as executors, are left out because they name accounts and the like.
    """

    def __init__(self, known: Mapping[str, str], hosts: Iterable[str], sections: Iterable[str]) -> None:
        self._known = {text: known[text] for text in sorted(known, key=len, reverse=True) if "/" in text}
        self._hosts = [re.compile(rf"(?<![\w-]){re.escape(host)}(?![\w-])") for host in sorted(hosts) if host]
        self._sections = frozenset(sections)

    def value(self, item: Any) -> Any:
        """Replace the private texts within a value, however nested."""
        if isinstance(item, Mapping):
            return {key: self.value(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [self.value(part) for part in item]
        return self.text(item) if isinstance(item, str) else item

    def text(self, text: str) -> str:
        """Replace the paths in a text."""
        for private, word in self._known.items():
            plain = word.replace("\\", r"\\")  # in a pattern's replacement it would lead something in
            text = re.sub(rf"(?<![\w./~-]){re.escape(private)}(?![\w-])", plain, text)
        # equal paths get equal digits
        return PATH.sub(lambda found: f"PATH-{hashlib.sha256(found[0].encode()).hexdigest()[:6]}", text)

    def message(self, text: str) -> str:
        """Replace paths and host names in a message."""
        text = self.text(text)
        for host in self._hosts:
            text = host.sub(HOST, text)
        return text

    def command(self, words: Iterable[str]) -> list[str]:
        """Remove folders and settings of executors from a command line."""
        out: list[str] = []
        for word in words:
            before, (option, equals, setting) = out[-1] if out else "", word.partition("=")
            if before == "--set" and self._is_private(word):
                out.pop()
            elif before in FOLDER_OPTIONS:
                out.append(DIR)
            elif option in FOLDER_OPTIONS and equals:
                out.append(f"{option}={DIR}")
            elif not (option == "--set" and self._is_private(setting)):
                out.append(self.message(word))
        return out

    def _is_private(self, setting: str) -> bool:
        """Return whether KEY=VALUE is a setting of a section that is not kept."""
        section, dot, _ = setting.partition("=")[0].strip().partition(".")
        return bool(dot) and section not in self._sections
