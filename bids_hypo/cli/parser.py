"""A parser of arguments that lets no slip pass: nothing shortened, nothing overwritten, near misses named."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

# Names that other tools, or other versions of them, give to what we have; without dashes at the front
# and without an s at the end.
KNOWN_ELSEWHERE = {
    "subject-label": "participant-label", "subject": "participant-label", "sub": "participant-label",
    "participant": "participant-label", "participant-id": "participant-label", "session": "session-label",
    "session-id": "session-label", "ses": "session-label", "run": "run-label", "run-id": "run-label",
    "acq": "acquisition", "acquisition-label": "acquisition", "filter-file": "bids-filter-file",
    "database-dir": "bids-database-dir", "skip-validation": "skip-bids-validation", "n-proc": "nprocs",
    "num-proc": "nprocs", "n-job": "nprocs", "job": "nprocs", "thread": "omp-nthreads", "n-thread": "omp-nthreads",
    "num-thread": "omp-nthreads", "memory": "mem", "memory-gb": "mem", "gpu": "device", "use-gpu": "device",
    "cpu": "device", "work": "work-dir", "workdir": "work-dir", "scratch": "work-dir", "force": "overwrite",
    "patient": "case",
}  # fmt: skip
_NUMBER = re.compile(r"-\d*\.?\d+")


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` for all commands.

    Options cannot be shortened: ``--participant`` would be taken for ``--participant-label`` today, and for something
    else once there is another option of that beginning. An unknown one is answered with those that may be meant. An
    option with one value that is given twice with different values is an error; lists grow (``action="extend"``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)
        self.given: dict[str, tuple[str | None, Any]] = {}
        self.words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but unknown options are looked for first: what follows them is often misread."""
        words = sys.argv[1:] if args is None else list(args)
        self.given, self.words = {}, words
        if self._subparsers is None:  # else a command looks at its own
            self._refuse_unknown(words)
        return super().parse_known_args(words, namespace)

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        before_rest = words[: words.index("--")] if "--" in words else words
        unknown = [word for word in before_rest if self._is_unknown(word)]
        if unknown:
            self.error(f"unrecognized arguments: {', '.join(self._with_hint(word) for word in unknown)}")

    def _is_unknown(self, word: str) -> bool:
        if not word.startswith("-") or word == "-" or " " in word or _NUMBER.fullmatch(word):
            return False
        known = self._option_string_actions
        attached = not word.startswith("--") and word[:2] in known  # -vv, -wDIR
        return not (attached or word.partition("=")[0] in known)

    def _with_hint(self, word: str) -> str:
        option, _, value = word.partition("=")
        meant = suggestions(option, [name for name in self._option_string_actions if name.startswith("--")])
        if meant and value:
            return f"{word} (did you mean {meant[0]}={value}?)"
        return f"{word} (did you mean {' or '.join(meant)}?)" if meant else word

    def error(self, message: str) -> NoReturn:
        """Print how the command is used in short, and what is wrong."""
        if message.startswith("the following arguments are required"):
            message += self._list_hint()
        self.exit(2, f"{self.prog}: error: {message}\nSee {self.prog} --help for all options.\n")

    def _list_hint(self) -> str:
        """A sentence on the lists that may have swallowed what is missing; empty if none was given."""
        known = self._option_string_actions
        lists = [word for word in self.words if word in known and known[word].nargs in ("+", "*")]
        if not lists:
            return ""
        return f". {lists[0]} takes all words up to the next option: give it last, or put -- after its values"


class _StoreOnce(argparse._StoreAction):
    """Store a value, unless another one was given for the same option."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        if isinstance(parser, Parser) and self.option_strings:
            before_option, before = parser.given.setdefault(self.dest, (option_string, values))
            if before != values:
                text = f"given twice, as {before_option} {before} and as {option_string} {values}; give it once."
                raise argparse.ArgumentError(self, text)
        super().__call__(parser, namespace, values, option_string)


def suggestions(option: str, known: Sequence[str]) -> list[str]:
    """Options that may be meant by one that does not exist.

    Parameters
    ----------
    option : str
        As typed, without a value.
    known : sequence of str
        Options that exist, with their dashes.

    Returns
    -------
    list of str
        The likeliest first, at most three.
    """
    name = option.lstrip("-").lower().replace("_", "-")
    names = {text.lstrip("-"): text for text in known if "_" not in text}  # --a_b is another spelling of --a-b
    if name in names:
        return [names[name]]
    elsewhere = KNOWN_ELSEWHERE.get(name.removesuffix("s"), KNOWN_ELSEWHERE.get(name))
    if elsewhere in names:
        return [names[elsewhere]]
    begun = [text for text in names if text.startswith(name) and len(name) > 1]
    found = begun or difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    return list(dict.fromkeys(names[text] for text in found))[:3]
