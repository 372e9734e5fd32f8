"""The executor that hands a plan to a SLURM cluster, through Submitit."""
