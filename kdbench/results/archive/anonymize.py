"""What would tell who ran a study, and where, and what stands in its place.

Model folders keep their own name, in commands and options behind `PATH/TO/`; the folder of the data is `DIR`; any other
absolute path is `PATH-` and six digits, equal for equal paths, because an option may tell runs apart by it. Host names,
process numbers and jobs are left out, host names within messages become `HOST`.
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
    """Replaces what is private.

    Args:
        known: paths and what stands for them, also relative ones or such with spaces; a bare name, which may be a word
            of something else, stays.
        hosts: names of machines.
        sections: methods, variants and `teacher`, whose settings in a command are kept. Those of other sections,
            such as executors, are left out: they name accounts and the like.
    """

    def __init__(self, known: Mapping[str, str], hosts: Iterable[str], sections: Iterable[str]) -> None:
        self._known = {text: known[text] for text in sorted(known, key=len, reverse=True) if "/" in text}
        self._hosts = [re.compile(rf"(?<![\w-]){re.escape(host)}(?![\w-])") for host in sorted(hosts) if host]
        self._sections = frozenset(sections)

    def value(self, item: Any) -> Any:
        """The item, with no path in any of its texts."""
        if isinstance(item, Mapping):
            return {key: self.value(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [self.value(part) for part in item]
        return self.text(item) if isinstance(item, str) else item

    def text(self, text: str) -> str:
        for private, word in self._known.items():
            plain = word.replace("\\", r"\\")  # in a pattern's replacement it would lead something in
            text = re.sub(rf"(?<![\w./~-]){re.escape(private)}(?![\w-])", plain, text)
        return PATH.sub(lambda found: _stand_in(found[0]), text)

    def message(self, text: str) -> str:
        """Running text, which may also name machines."""
        text = self.text(text)
        for host in self._hosts:
            text = host.sub(HOST, text)
        return text

    def command(self, words: Iterable[str]) -> list[str]:
        """A command line, without settings of executors and without folders."""
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


def _stand_in(path: str) -> str:
    return f"PATH-{hashlib.sha256(path.encode()).hexdigest()[:6]}"
