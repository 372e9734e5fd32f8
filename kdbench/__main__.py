"""Run kdbench as `python -m kdbench`."""

from kdbench.safe_path import leave_working_folder

leave_working_folder()  # before anything is imported that might be looked for there

from kdbench.cli import main  # noqa: E402

main()
