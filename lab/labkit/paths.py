"""Where the lab and the repository are."""

import pathlib

LAB = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = LAB.parent
