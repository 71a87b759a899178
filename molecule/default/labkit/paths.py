"""Where the scenario and the repository are."""

import pathlib

SCENARIO = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = SCENARIO.parent.parent
