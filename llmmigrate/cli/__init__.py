"""The command line: parses and prints; everything is decided in the rooms below."""

from llmmigrate.cli.main import main

__all__ = ["main"]
