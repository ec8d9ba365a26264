"""Large files on their way in: LFS, Xet, and what every file is checked for when it lands."""
