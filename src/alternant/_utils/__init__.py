"""What all other subpackages use and what knows none of them: threads, memory, files, checks of arguments."""
