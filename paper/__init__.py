import pipeline  # noqa: F401 (sets the arithmetic, which must happen before any module imports numpy or torch)
