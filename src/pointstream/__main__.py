"""`python -m pointstream`: the command line, for where the entry point isn't on the path."""

from pointstream.cli import main

main()
