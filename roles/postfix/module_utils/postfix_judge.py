# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is wrong in values of main.cf and master.cf that neither postconf(1) nor postfix check reads. Pure functions.

A setting is (where, name, value): where is "main.cf" or a service of master.cf as service/type, value has its $names expanded. Each problem is
a sentence that begins with where and name.
"""

import re

from ansible.module_utils.postfix_text import sockets, words

# What smtpd(8) knows in a restriction list. Sources: generic_checks() of smtpd_check.c and mail_params.h, Postfix 3.7 to 3.11. A word that is
# missing here is not refused for that: postfix_proof asks smtpd, which may be of a later release.
PLAIN = set(
    """
permit defer reject defer_if_permit defer_if_reject reject_unauth_pipelining reject_plaintext_session warn_if_reject
reject_unknown_client_hostname reject_unknown_reverse_client_hostname permit_inet_interfaces permit_mynetworks
reject_invalid_helo_hostname reject_unknown_helo_hostname reject_non_fqdn_helo_hostname reject_unknown_sender_domain
reject_unverified_sender reject_non_fqdn_sender reject_authenticated_sender_login_mismatch
reject_known_sender_login_mismatch reject_unauthenticated_sender_login_mismatch reject_sender_login_mismatch
reject_unlisted_sender permit_mx_backup permit_auth_destination reject_unauth_destination defer_unauth_destination
permit_sasl_authenticated permit_tls_all_clientcerts permit_tls_clientcerts reject_unknown_recipient_domain
reject_non_fqdn_recipient reject_unlisted_recipient reject_multi_recipient_bounce reject_unverified_recipient
""".split()
)
# The same for those with an argument: what it is called, what it looks like, and who takes it.
WITH_ARGUMENT = {
    word: (argument, pattern)
    for argument, pattern, names in (
        (
            "type:table",
            ":",
            """
check_client_access check_reverse_client_hostname_access check_ccert_access check_sasl_access check_client_ns_access
check_client_mx_access check_client_a_access check_reverse_client_hostname_ns_access
check_reverse_client_hostname_mx_access check_reverse_client_hostname_a_access check_helo_access check_helo_ns_access
check_helo_mx_access check_helo_a_access check_sender_access check_sender_ns_access check_sender_mx_access
check_sender_a_access check_recipient_access check_recipient_ns_access check_recipient_mx_access
check_recipient_a_access check_etrn_access
""",
        ),
        ("inet:host:port or unix:path", ":", "check_policy_service"),
        (
            "a domain",
            r"\.",
            """
reject_rbl_client reject_rbl reject_rhsbl_client reject_rhsbl_reverse_client reject_rhsbl_helo reject_rhsbl_sender
reject_rhsbl_recipient permit_dnswl_client permit_rhswl_client
""",
        ),
        ("seconds", r"^\d+$", "sleep"),
    )
    for word in names.split()
}
POLICY = "check_policy_service"
# smtpd answers 451 to these, the last of them only where a recipient is known.
REMOVED_IN_3_9 = {"permit_naked_ip_address", "reject_maps_rbl", "check_relay_domains"}
LISTS = re.compile(r"^smtpd_(client|helo|sender|relay|recipient|etrn|data|end_of_data)_restrictions$")
# In these a table needs its check_..._access: there is no address that it could be about.
NO_SHORTHAND = ("smtpd_data_restrictions", "smtpd_end_of_data_restrictions")

# yes or no by default, but not booleans.
NOT_BOOLEAN = {"html_directory", "readme_directory", "smtpd_forbid_bare_newline", "smtp_tls_enforce_sts_mx_patterns"}
NOT_NUMBER = {"compatibility_level"}


def kinds(settings, defaults):
    """Return the problems of values whose kind differs from their compiled default's: a yes/no that is neither, a number that is not one.

    The daemon that needs one dies at its start, some of them only when they are needed.
    """
    problems = []
    for where, name, value in settings:
        default = defaults.get(name, "")
        if "$" in value:
            continue
        if default in ("yes", "no") and name not in NOT_BOOLEAN and value.lower() not in ("yes", "no"):
            wanted = "it is yes or no"
        elif (
            re.match(r"\d+[smhdw]?$", default) and name not in NOT_NUMBER and not re.match(r"-?\d+\s*[smhdw]?$", value)
        ):
            wanted = "a number is needed" + (", its unit s, m, h, d or w" if default[-1].isalpha() else "")
        else:
            continue
        problems.append("%s: %s = %s: %s" % (where, name, value or "(empty)", wanted))
    return problems


def restrictions(setting, classes, version):
    """Return (problems, unknown) of one restriction list: what smtpd(8) would answer 451 4.3.5 to.

    classes: names of smtpd_restriction_classes. version: mail_version as (3, 11). unknown: [(where: name, word, what follows it)], the words that
    only smtpd itself can judge.
    """
    where, name, value = setting
    label, problems, unknown, parts = "%s: %s" % (where, name), [], [], words(value)
    while parts:
        part = parts.pop(0)
        word, following = part.lower(), "".join(parts[:1])
        if ":" in part or part.startswith("{"):
            if name in NO_SHORTHAND:
                problems.append("%s: %s needs a check_..._access before it in this list" % (label, part))
        elif word in REMOVED_IN_3_9 and version >= (3, 9):
            problems.append("%s: %s was removed in Postfix 3.9" % (label, part))
        elif word in WITH_ARGUMENT:
            argument, pattern = WITH_ARGUMENT[word]
            if not re.search(pattern, following):
                problems.append(
                    "%s: %s must be followed by %s, not %s" % (label, part, argument, following or "nothing")
                )
            del parts[:1]
        elif word not in PLAIN and part not in classes:
            unknown.append((label, part, following))
    return problems, unknown


def policy_services(settings):
    """Return the policy services that restriction lists and classes ask, each once, as they stand there."""
    found = {}
    for _where, _name, value in settings:
        parts = words(value)
        found.update(dict.fromkeys(after for word, after in zip(parts, parts[1:]) if word.lower() == POLICY))
    return list(found)


def undefined_classes(values):
    """Return the problems of classes that have no list. values: {parameter: value} of main.cf."""
    return [
        "main.cf: smtpd_restriction_classes: class %s is not defined" % name
        for name in words(values.get("smtpd_restriction_classes", ""))
        if not values.get(name)
    ]


def provided_sockets(services, external):
    """Return the names of the sockets that master(8) makes, and of those of *external* programs.

    private/X is that of the unix service X with private y (the default), public/X of one with n.
    """
    return {
        ("public/" if service["private"] == "n" else "private/") + service["name"]
        for service in services
        if service["type"] != "inet"
    } | set(external)


def missing_sockets(settings, provided):
    """Return the problems of settings that name a socket which is not in *provided*."""
    return [
        "%s: %s names %s, but master.cf has no service %s of type unix"
        % (where, name, socket, socket.partition("/")[2])
        for where, name, value in settings
        for socket in sockets(value)
        if socket not in provided
    ]
