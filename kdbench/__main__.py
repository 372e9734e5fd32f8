"""Run kdbench as `python -m kdbench`."""

from kdbench.core.safe_path import leave_working_folder

leave_working_folder()  # before anything is imported that might be looked for there

from kdbench.cli.app import main  # noqa: E402

main()
