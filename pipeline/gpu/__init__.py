"""The rows of `python -m pipeline.gpu_check`: what a card computes, against the CPU."""
