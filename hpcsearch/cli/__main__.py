"""``python -m hpcsearch.cli``: the same as the command ``hpcsearch``."""

from hpcsearch.cli.main import main

main()
