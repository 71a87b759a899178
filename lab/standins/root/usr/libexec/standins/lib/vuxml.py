"""The database of vulnerabilities that pkg audit reads, in VuXML."""

import xml.etree.ElementTree

from plan import Refused


def vulnerable(path):
    """[(package's name, [(operator, version)], topic, vid)] of a VuXML file."""
    try:
        top = xml.etree.ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise Refused(f"vulnxml file {path} does not exist. Try running 'pkg audit -F' first") from None
    except (OSError, xml.etree.ElementTree.ParseError) as problem:
        raise Refused(f"cannot process vulnxml: {problem}") from None
    return [
        (
            name.text.strip(),
            [(limit.tag.rpartition("}")[2], limit.text.strip()) for limit in scope],
            one.findtext("{*}topic").strip(),
            one.get("vid"),
        )
        for one in top.iterfind("{*}vuln")
        for package in one.iterfind("{*}affects/{*}package")
        for name in package.iterfind("{*}name")
        for scope in package.iterfind("{*}range")
    ]
