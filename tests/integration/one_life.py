"""`python -m tests.integration.one_life CODE ARGUMENTS...`: whatever a test wants of a process."""

import sys

if __name__ == "__main__":
    exec(sys.argv[1])  # noqa: S102 - the test's own
