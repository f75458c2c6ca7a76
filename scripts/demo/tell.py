"""What the reader of the terminal sees, and how a wrong answer ends the demo."""

import sys


class DemoError(Exception):
    """What went wrong, for the reader of the terminal."""


def check(right, text):
    if not right:
        raise DemoError(text)


def headline(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def say(text=""):
    print(f"  {text}" if text else "", flush=True)
