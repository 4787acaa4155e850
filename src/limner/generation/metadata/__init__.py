"""What programs write into their pictures: the texts of a file, and one reader for each program's."""
