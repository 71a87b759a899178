# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the modules of several roles share. Runs on the host: Python 3.9 or newer and its standard library, nothing of Ansible."""
