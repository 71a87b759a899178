# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The report of tools/drift, in the order in which it comes about:

    run       playbooks/drift.yml in check mode; the callback sokuhai_drift leaves one record a line
    digest    records -> hosts with their status, and findings
    shown     what a host answered to be shown: samples (and traps), mailings
    findings  one result -> findings: what a module names, and diffs of the texts it would write
    state     what the last run found, so what is new, gone or still there
    remedies  what puts a finding right
    terminal, mail, page   what people read of it
    words     the sentences of page and remedies, in both languages

Nothing here looks into a sentence that a module or a role wrote: those are shown, and judged by the fields beside them.
Python's standard library only: tools/drift runs with whatever python3 the controller has.
"""
