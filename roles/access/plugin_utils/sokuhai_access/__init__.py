# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What becomes role access's filters: named items and tables of smtpd(8) and postscreen(8), and which networks belong to a country. Pure but for
verdict, which reads the registries' files; runs on the controller."""
