"""The NoCloud seed, read back by a reader of ECMA-119 and Joliet written apart from the writer."""

import datetime
import os
import struct
import subprocess
import sys

import pytest
from vm_modules import vmkit

seed = vmkit("seed")
WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEexample it's mine"


def tree(image, number):
    """{name: (content, flags)} and the label, by the volume descriptor of that type (1 or 2)."""
    for sector in range(16, 32):
        block = image[sector * 2048 : (sector + 1) * 2048]
        assert block[1:6] == b"CD001"
        assert block[0] != 255, "no such descriptor"
        if block[0] == number:
            break
    codec = "utf-16-be" if number == 2 else "ascii"
    if number == 2:
        assert block[88:91] == b"%/@"
    assert struct.unpack("<I", block[80:84])[0] * 2048 == len(image)
    assert struct.unpack("<I", block[80:84]) == struct.unpack(">I", block[84:88])
    (extent,) = struct.unpack("<I", block[158:162])
    for offset, form in ((140, "<I"), (148, ">I")):
        (table,) = struct.unpack(form, block[offset : offset + 4])
        assert struct.unpack(form, image[table * 2048 + 2 : table * 2048 + 6])[0] == extent, "path table"
    data, files, at = image[extent * 2048 : (extent + 1) * 2048], {}, 0
    while data[at]:
        length, start, size = data[at], *struct.unpack("<I4xI", data[at + 2 : at + 14])
        assert length % 2 == 0 and struct.unpack(">I", data[at + 6 : at + 10])[0] == start
        raw = data[at + 33 : at + 33 + data[at + 32]]
        if raw not in (b"\0", b"\1"):
            files[raw.decode(codec)] = image[start * 2048 : start * 2048 + size]
        at += length
    return block[40:72].decode(codec).rstrip(" "), files


def test_names_and_contents_are_as_given():
    files = seed.nocloud("mx.home.example", "root", KEY)
    label, found = tree(seed.image(files, when=WHEN), 2)
    assert label == "cidata"
    assert {name: data.decode() for name, data in found.items()} == files
    assert set(found) == {"meta-data", "user-data"}


def test_a_reader_without_joliet_sees_the_same_label_and_contents():
    files = seed.nocloud("mx.home.example", "root", KEY)
    label, found = tree(seed.image(files, when=WHEN), 1)
    assert label == "cidata"
    assert sorted(found.values()) == sorted(text.encode() for text in files.values())


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 9000])
def test_files_of_every_size(size):
    content = bytes(index % 251 for index in range(size))
    image = seed.image({"meta-data": b"a: b\n", "user-data": content, "network-config": b"x" * 5000}, when=WHEN)
    assert len(image) % 2048 == 0
    assert tree(image, 2)[1] == {"meta-data": b"a: b\n", "user-data": content, "network-config": b"x" * 5000}


def test_no_rock_ridge_so_that_freebsd_14_may_execute_the_script():
    image = seed.image({"user-data": "#!/bin/sh\n"}, when=WHEN)
    assert not any(mark in image for mark in (b"SP\x07\x01\xbe\xef", b"RRIP", b"PX"))


def test_the_script_is_one_for_nuageinit():
    first = seed.user_data("root", KEY).splitlines()[0]
    assert first == "#!/bin/sh"


@pytest.mark.parametrize("user", ["root", "freebsd", "o'neil; rm -rf /"])
def test_the_script_lets_the_key_in_once(user, tmp_path):
    """Run it in a folder that plays the root, with a pw(8) and a service(8) of our own."""
    tools = tmp_path / "bin"
    tools.mkdir()
    home = tmp_path / "home"
    made = tmp_path / "made"
    (tools / "pw").write_text(f"""#!{os.path.realpath(sys.executable)}
import pathlib, sys
made = pathlib.Path({str(made)!r})
if sys.argv[1] == "usershow":
    assert sys.argv[3] == {user!r}
    if {user!r} != "root" and not made.exists(): sys.exit(67)
    print("x:*:0:0::0:0:Name:{home}:/bin/sh")
else:
    made.write_text(" ".join(sys.argv[1:]))
""")
    (tools / "service").write_text("#!/bin/sh\nexit 1\n")
    (tools / "chown").write_text(f'#!/bin/sh\n[ "$2" = "{user}" ]\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    config = tmp_path / "sshd_config"
    config.write_text("#PermitRootLogin no\n")
    script = (
        seed.user_data(user, KEY)
        .replace("/etc/ssh/sshd_config", str(config))
        .replace("PATH=/sbin", f"PATH={tools}:/sbin")
    )
    for _ in range(2):
        done = subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert (home / ".ssh" / "authorized_keys").read_text() == KEY + "\n"
    assert (home / ".ssh" / "authorized_keys").stat().st_mode & 0o777 == 0o600
    if user == "root":
        assert config.read_text() == "PermitRootLogin prohibit-password\n#PermitRootLogin no\n"
        assert not made.exists()
    else:
        assert config.read_text() == "#PermitRootLogin no\n"
        assert "wheel" in made.read_text()
