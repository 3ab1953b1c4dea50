import pipeline  # noqa: F401 (sets the arithmetic before any module imports numpy or torch)
