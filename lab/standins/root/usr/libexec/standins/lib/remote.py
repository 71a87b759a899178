"""Repositories of somebody's own, in a directory (file://) or behind a web server (http://), as the stand-in of poudriere makes them.

packagesite.pkg has a manifest a line, packagesite.sig is its signature; where signature_type is pubkey it must be of the key in pubkey.
"""

import json
import os
import re
import subprocess
import tempfile
import urllib.request

import packages
import repository


class Unreachable(Exception):
    pass


class Unsigned(Exception):
    pass


class Package(packages.Archive):
    """A package of such a repository: known by its files once it was fetched, as one of FreeBSD's."""

    def __init__(self, path, manifest):
        self.path, self.known = path, manifest

    def __getattr__(self, name):
        # only when it is laid: the file may come between plan and installation
        if name in ("archive", "members"):
            packages.Archive.__init__(self, self.path)
            return self.__dict__[name]
        raise AttributeError(name)


def own(keys):
    return keys.get("url", "").startswith(("file://", "http://"))


def get(keys, name):
    """Bytes of one of the repository's files."""
    try:
        with urllib.request.urlopen(f"{keys['url'].rstrip('/')}/{name}", timeout=20) as answer:
            return answer.read()
    except (OSError, ValueError) as problem:
        raise Unreachable(problem) from None


def catalogue(keys):
    """Manifests of the repository; raises Unreachable, or Unsigned where the signature is not of its key."""
    get(keys, "meta.conf")
    text = get(keys, "packagesite.pkg")
    if keys.get("signature_type", "none").lower() == "pubkey":
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("text", text), ("sig", get(keys, "packagesite.sig"))):
                with open(f"{folder}/{name}", "wb") as file:
                    file.write(content)
            argv = [
                "openssl",
                "dgst",
                "-sha256",
                "-verify",
                keys.get("pubkey", ""),
                "-signature",
                f"{folder}/sig",
                f"{folder}/text",
            ]
            if subprocess.run(argv, capture_output=True, check=False).returncode:
                raise Unsigned(keys["url"])
    return [json.loads(line) for line in text.decode().splitlines()]


def cached(manifest):
    return f"{repository.CACHE}/{packages.title(manifest)}~{re.sub(r'[^a-z0-9]', '', manifest['annotations']['repository'].lower())}.pkg"


def offers(repositories, name):
    """(manifest, keys) of the enabled own repositories that have the package *name*, highest priority first."""
    found = []
    for title, keys in sorted(repositories.items(), key=lambda one: -int(one[1].get("priority", 0))):
        for manifest in catalogue(keys):
            if name in (manifest["name"], packages.title(manifest), manifest["origin"]):
                notes = {**manifest["annotations"], "repository": title, "repo_type": "binary"}
                found.append(({**manifest, "annotations": notes}, keys))
    return found


def package(manifest):
    return Package(cached(manifest), manifest)


def fetch(manifest, keys):
    path = cached(manifest)
    content = get(keys, manifest["repopath"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "wb") as file:
        file.write(content)
    os.rename(f"{path}.new", path)
