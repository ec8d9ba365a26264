"""`python -m llmos`, also for launchers such as torchrun: `torchrun -m llmos train ...`."""

from llmos.cli.main import main

if __name__ == "__main__":
    main()
