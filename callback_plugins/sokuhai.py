# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The default output, less what buries a message: a refused value prints the message alone, not the role's whole specification."""

DOCUMENTATION = """
name: sokuhai
type: stdout
short_description: Default output whose failures can be read
description:
  - As P(ansible.builtin.default#callback), but a failed argument validation does not print the role's specification or all
    variables behind its message.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

from ansible.plugins.callback.default import CallbackModule as Default

# the last one is what preflight_declared returns
NOISE = ("argument_spec_data", "argument_errors", "validate_args_context", "invocation", "_ansible_no_log", "variables")


class CallbackModule(Default):
    """Changes nothing but the result dictionary that is shown of a failed task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "sokuhai"

    def _dump_results(self, result, *args, **kwargs):
        return super()._dump_results({key: value for key, value in result.items() if key not in NOISE}, *args, **kwargs)
