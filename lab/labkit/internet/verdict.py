"""Whether a message is authentic, as a large provider judges it: SPF by pyspf, DKIM by dkimpy, alignment by authheaders.

Names are looked up at the simulated internet's own name server, once for each message: nothing is remembered, so that a record that was just changed
counts from then on.
"""

import functools
import random

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

#: What Gmail answers (support.google.com, "Email sender guidelines", read 2026-11-30), shortened.
REFUSED = "550 5.7.26 Unauthenticated: {}. SPF and DKIM must pass, and one of them for the domain in From."
TIMEOUT = 10  # s


class Names:
    """Looks names up at one server that knows all zones, for one message."""

    def __init__(self, server):
        self.server = server
        self.known = {}

    def ask(self, name, rdtype):
        """Return the rdatas of *name* and *rdtype* (text), [] for none. Raises dns.exception.DNSException."""
        name = name.decode() if isinstance(name, bytes) else name
        key = name.lower().rstrip("."), rdtype
        if key not in self.known:
            query = dns.message.make_query(key[0] or ".", rdtype)
            query.id = random.randrange(65536)
            reply, _tcp = dns.query.udp_with_fallback(query, self.server, TIMEOUT)
            if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                raise dns.exception.DNSException(dns.rcode.to_text(reply.rcode()))
            wanted = dns.rdatatype.from_text(rdtype)
            self.known[key] = [rdata for rrset in reply.answer if rrset.rdtype == wanted for rdata in rrset]
        return self.known[key]

    def text(self, name, timeout=TIMEOUT):
        """Return the first TXT record of *name* as bytes, its strings together, or None: what dkimpy asks for."""
        del timeout
        found = self.ask(name, "TXT")
        return b"".join(found[0].strings) if found else None

    def policy(self, name):
        """Return a DMARC record as text, or None: what authheaders asks for."""
        return next((b"".join(one.strings).decode() for one in self.ask(name, "TXT")), None)

    def for_spf(self, name, qtype, tcpfallback=True, timeout=TIMEOUT):
        """Return [((name, type), value)] as pyspf's DNSLookup() does."""
        import spf

        del tcpfallback, timeout
        try:
            found = self.ask(name, qtype)
        except dns.exception.DNSException as error:
            raise spf.TempError(f"DNS {error}") from error
        values = {
            "A": lambda rdata: rdata.address,
            "AAAA": lambda rdata: rdata.address,
            "MX": lambda rdata: (rdata.preference, rdata.exchange.to_text(omit_final_dot=True)),
            "PTR": lambda rdata: rdata.target.to_text(omit_final_dot=True),
            "TXT": lambda rdata: rdata.strings,
            "SPF": lambda rdata: rdata.strings,
        }
        return [((name, qtype), values[qtype](rdata)) for rdata in found if qtype in values]


@functools.cache
def library():
    """Return authheaders, made to read the list of public suffixes once and not for every name.

    A top-level domain that is not in the list, as those of this lab, is a suffix by the list's own rule *, which publicsuffix2 leaves out.
    """
    import authheaders
    from authheaders import dmarc_lookup

    listed = dmarc_lookup.get_org_domain

    @functools.cache
    def known(domain):
        found = listed(domain)
        return found if not domain or "." in found else ".".join(domain.split(".")[-2:])

    for module in (authheaders, dmarc_lookup):
        module.get_org_domain = known
    return authheaders


def signatures(message, names):
    """Return [(domain, selector, algorithm, whether it verifies)] of each DKIM-Signature of *message* (bytes)."""
    import dkim

    found = []
    count = sum(name.lower() == b"dkim-signature" for name, _value in dkim.rfc822_parse(message)[0])
    for number in range(count):
        verifier = dkim.DKIM(message, minkey=1024)
        try:
            good = verifier.verify(idx=number, dnsfunc=names.text)
        except (dkim.DKIMException, dns.exception.DNSException, ValueError):
            good = False
        fields = {key: value.decode() for key, value in verifier.signature_fields.items()}
        found.append((fields.get(b"d", ""), fields.get(b"s", ""), fields.get(b"a", ""), bool(good)))
    return found


def judge(message, address, sender, helo, server):
    """Judge *message* (bytes) from the client *address*; return {spf, dkim, dmarc: result, signatures, problem: None or what a provider says}."""
    import spf
    from authres import DKIMAuthenticationResult, SPFAuthenticationResult

    authheaders, names = library(), Names(server)
    spf.DNSLookup = names.for_spf
    spf_result, _why = spf.check2(address, sender or f"postmaster@{helo}", helo)
    signed = signatures(message, names)
    passed = [one for one in signed if one[3]]
    # of several, one that passes for the domain in From is enough
    results = [DKIMAuthenticationResult(result="pass", header_d=one[0]) for one in passed] or [
        DKIMAuthenticationResult(result="fail" if signed else "none", header_d=signed[0][0] if signed else "")
    ]

    def dmarc_of(spf_found, one):
        # check_dmarc() changes what it is given
        by_spf = SPFAuthenticationResult(result=spf_found, smtp_mailfrom=sender or f"postmaster@{helo}", smtp_helo=helo)
        return authheaders.check_dmarc(message, by_spf, one, dnsfunc=names.policy)

    dmarcs = [dmarc_of(spf_result, one) for one in results]
    by_dkim = [dmarc_of("none", one) for one in results]
    dmarc = next((one.result for one in dmarcs if one.result == "pass"), dmarcs[0].result)
    problem = None
    if spf_result != "pass":
        problem = f"SPF {spf_result} for {sender or helo} from {address}"
    elif not passed:
        problem = "DKIM fails" if signed else "the message is not signed"
    elif dmarc != "pass":
        problem = f"DMARC {dmarc}: neither is aligned with the domain in From"
    elif all(one.result != "pass" for one in by_dkim):
        problem = "no signature is of the domain in From"
    return {
        "spf": spf_result,
        "dkim": "pass" if passed else "fail" if signed else "none",
        "dmarc": dmarc,
        "signatures": [list(one) for one in signed],
        "problem": problem,
    }
