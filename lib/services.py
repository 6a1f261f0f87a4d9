"""The composition root: settings in, every service out. Doors ask here and nowhere else."""
