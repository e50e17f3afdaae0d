"""The single-threaded process that launches, reaps, forwards signals and answers two questions."""
