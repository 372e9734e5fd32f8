"""The distillation methods, one file each; a new file is found without further registration."""
