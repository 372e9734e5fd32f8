"""The page docs/study.md: its sentences and tables, all computed from the collected results of a study."""
