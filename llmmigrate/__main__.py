"""Run the command line: `python -m llmmigrate`."""

from llmmigrate.cli import main

main()
