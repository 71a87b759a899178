"""main.cf, master.cf, tables and mailer.conf as role postfix's templates write them."""

import pathlib

import ansible.plugins.filter.core
import ansible.plugins.test.core
import jinja2
from postfix_items import FilterModule, postfix_merge, postfix_services

TEMPLATES = pathlib.Path(__file__).resolve().parents[2] / "roles/postfix/templates/usr/local/etc"


def render(name, **variables):
    """The text of a template, as ansible.builtin.template writes it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    builtin = ansible.plugins.filter.core.FilterModule().filters()
    environment.filters.update({name: builtin[name] for name in ("comment", "flatten")}, **FilterModule().filters())
    environment.tests["search"] = ansible.plugins.test.core.TestModule().tests()["search"]
    return environment.get_template(name).render(variables)


def main_cf(*items):
    """Lines of main.cf below its header."""
    return render("postfix/main.cf.j2", __postfix_parameters=postfix_merge([items])).splitlines()[3:]


def master_cf(*items):
    return render("postfix/master.cf.j2", __postfix_services=postfix_services([items]))


def table(*entries):
    return render("postfix/tables/table.j2", table={"name": "t", "entries": entries})


def test_main_cf_has_groups_and_comments():
    assert main_cf(
        {"name": "a", "value": True, "group": "One", "comment": "first\nsecond\n"},
        {"name": "b", "value": "", "group": "One"},
        {"name": "c", "value": 3, "group": "Two"},
        {"name": "d", "value": ["e", False]},
    ) == [
        "# --- One",
        "# first",
        "# second",
        "a = yes",
        "b =",
        "",
        "# --- Two",
        "c = 3",
        "",
        "# --- From the inventory",
        "d = e, no",
    ]


def test_a_list_has_its_reasons_and_a_long_one_a_line_for_each_entry():
    assert main_cf({"name": "a", "value": [{"value": "b", "reason": "why"}, {"value": "c d", "reason": ""}]})[1:] == [
        "a =",
        "    # why",
        "    b,",
        "    c d",
    ]
    assert main_cf({"name": "a", "value": ["x" * 60, "y" * 60]})[1:] == [
        "a =",
        "    " + "x" * 60 + ",",
        "    " + "y" * 60,
    ]
    assert main_cf({"name": "a", "value": [{"value": "b"}]})[1:] == ["a = b"]
    assert main_cf({"name": "a", "value": [{"value": "b", "reason": "c"}]})[1:] == ["a =", "    # c", "    b"]


def test_a_value_cannot_smuggle_in_a_parameter():
    lines = main_cf(
        {"name": "a", "value": "1\nmynetworks = 0.0.0.0/0"}, {"name": "b", "value": ["c\nd = e", "x" * 100]}
    )
    assert [line.split(" ")[0] for line in lines if line and line[0] not in "# "] == ["a", "b"]


def test_master_cf_lines():
    service = {
        "name": "policy",
        "private": "n",
        "unpriv": False,
        "chroot": "n",
        "maxproc": 0,
        "command": "spawn",
        "args": ["user=nobody", "argv=/usr/local/libexec/agent"],
        "comment": "an agent",
        "options": {"a": True, "b": ["x", "y"], "c": ""},
    }
    assert master_cf(service).splitlines()[-7:] == [
        "# an agent",
        "policy           unix       n       n      n      -      0       spawn",
        "    -o a=yes",
        "    -o { b = x, y }",
        "    -o c=",
        "    user=nobody",
        "    argv=/usr/local/libexec/agent",
    ]


def test_tables_are_one_line_an_entry():
    assert (
        table(
            {"pattern": "b", "action": "OK", "reason": "friend"},
            {"pattern": "if 10.0.0.0/8"},
            {"pattern": "endif", "action": "", "reason": ""},
        )
        == "# friend\nb OK\nif 10.0.0.0/8\nendif\n"
    )
    assert table() == ""


def test_aliases_take_lists():
    aliases = [
        {"name": "root", "value": ["a@example.org", "b@example.org"], "reason": "us"},
        {"name": "b", "value": "c"},
    ]
    assert render("postfix/tables/aliases.j2", __postfix_aliases=aliases) == (
        "# us\nroot: a@example.org, b@example.org\nb: c\n"
    )


def test_mailer_conf_names_every_program_that_postfix_has():
    text = render("mail/mailer.conf.j2", __postfix_info={"paths": {"sendmail_path": "/usr/local/sbin/sendmail"}})
    programs = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    assert programs == dict.fromkeys(("sendmail", "send-mail", "mailq", "newaliases"), "/usr/local/sbin/sendmail")
