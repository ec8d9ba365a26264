"""Where generated code runs: a process of its own behind walls of the Linux kernel."""
