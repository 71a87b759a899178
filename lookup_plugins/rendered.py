# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The text of a template, as lookup ansible.builtin.template renders it, at a fifth of its price.

That one copies all variables of the host, deeply, for each template: a run of site.yml renders 27, and spent 1.4 of its 7.5 s of processor time
on the controller with these copies. A template changes none of them.
"""

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase


class Variables(dict):
    """Variables whose deep copy is a shallow one."""

    def __deepcopy__(self, memo):
        return dict(self)


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **options):
        """Return the text (str) of each of *terms*, paths below the role's templates/. options: those of ansible.builtin.template."""
        template = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return template.run(terms, Variables(variables), **options)
