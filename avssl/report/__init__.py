"""`avssl report`: what a run did and learnt, as one HTML page that needs nothing else."""
