"""`python -m exporter` is the command `conduit-exporter`."""

from exporter.cli import main

if __name__ == "__main__":
    main()
