# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight says of a host on which no module runs."""

import jinja2
import pytest
import yaml
from role_modules import ROOT

#: What Python prints on a host without room for a module, beginning and end.
NO_ROOM = """Traceback (most recent call last):
  File "<stdin>", line 266, in <module>
  File "<stdin>", line 249, in _ansiballz_main
  File "/usr/local/lib/python3.11/tempfile.py", line 357, in mkdtemp
    prefix, suffix, dir, output_type = _sanitize_params(prefix, suffix, dir)
                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/root']
"""


@pytest.mark.parametrize(
    "printed, reason",
    [
        (NO_ROOM, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/root']"),
        (
            'ld-elf.so.1: Shared object "libcrypto.so.30" not found, required by "python3.11"\n',
            '"libcrypto.so.30" not found',
        ),
        ("", "needs playbooks/bootstrap.yml first"),
    ],
)
def test_a_host_on_which_no_module_runs_is_refused_with_what_python_said_last(printed, reason):
    message = yaml.safe_load((ROOT / "roles/preflight/tasks/main.yml").read_text())[0]["rescue"][0]["vars"][
        "__preflight_silent"
    ]
    failed = {"msg": "Module result deserialization failed", "module_stderr": printed}
    said = jinja2.Template(message).render(inventory_hostname="mx", ansible_failed_result=failed)
    assert said.startswith("mx could not answer (Module result") and reason in said
