"""The distillation methods, one file each. To add one, add a file: nothing else needs to change."""
