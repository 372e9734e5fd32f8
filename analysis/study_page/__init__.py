"""The page docs/study.md: its sentences and tables, all computed from the collected results of a study."""

TUNING, STUDENTS = "-tuning", "-students"  # end the names of folders beside the study's: rates tried, other students
