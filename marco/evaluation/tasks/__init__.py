"""marco's own tasks in lm-eval's format: ``lm_eval --include_path marco/evaluation/tasks``."""
