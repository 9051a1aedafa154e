"""What is measured on: the processor, its caches, the limits of the container, BLAS's threads, and what disturbs."""
