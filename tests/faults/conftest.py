"""What pytest does not look into."""

collect_ignore = ["fuzz_atheris.py"]  # needs atheris
