"""Images: what is given by path, what is fetched, what is refused. A server on loopback plays the release folder."""

import hashlib
import http.server
import lzma
import os
import re
import shutil
import subprocess
import threading

import pytest
import yaml
from vm_modules import vmkit

images = vmkit("images")
VmError = vmkit("paths").VmError

ROOM = images.room
PLAIN = b"QFI\xfb" + os.urandom(300_000) + bytes(3 << 20) + b"end"
PACKED = lzma.compress(PLAIN)
NAME = "FreeBSD-15.1-RELEASE-amd64-BASIC-CLOUDINIT-ufs.qcow2.xz"
FOLDER = "/releases/VM-IMAGES/15.1-RELEASE/amd64/Latest/"


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; breaks a body off after `cut` bytes; `ranges` False ignores Range. Notes what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.asked = {}, None, True, []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path.rsplit("/", 1)[1], wanted))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1)) if wanted and self.server.ranges else 0
        if wanted and self.server.ranges:
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if self.server.cut is None else rest[: self.server.cut])


@pytest.fixture
def server():
    one = Server()
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("FREEBSD_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SOKUHAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "room", lambda *_: None)


@pytest.fixture
def official(server, monkeypatch):
    """official(sha512): fetch 15.1 from the server as if images.toml pinned that. `official.said` is what it reported."""
    monkeypatch.setenv("FREEBSD_MIRROR", f"http://127.0.0.1:{server.server_port}")
    server.files[FOLDER + NAME] = PACKED

    def run(pin):
        known = images.releases()
        known["15.1"]["sha512"] = pin
        monkeypatch.setattr(images, "releases", lambda: known)
        return images.official("15.1", run.said.append)

    run.said = []
    return run


GOOD = hashlib.sha512(PACKED).hexdigest()


def part():
    return images.cache() / "official" / (NAME + ".part")


def test_a_plain_image_is_used_where_it_lies(tmp_path):
    path = tmp_path / "a.qcow2"
    path.write_bytes(PLAIN)
    assert images.given(path) == path.resolve()
    assert images.form(path) == "qcow2"
    path.write_bytes(b"\0" * 512)
    assert images.form(path) == "raw"
    assert not images.cache().exists(), "nothing is copied"


def test_a_packed_image_is_unpacked_once_and_again_when_it_changed(tmp_path):
    path = tmp_path / "a.raw.xz"
    path.write_bytes(PACKED)
    first = images.given(path)
    assert first.read_bytes() == PLAIN
    assert first.name.endswith("a.raw")
    marked = first.stat().st_ino
    assert images.given(path).stat().st_ino == marked, "unpacked a second time"
    path.write_bytes(lzma.compress(b"other"))
    os.utime(path, ns=(1, 1))
    second = images.given(path)
    assert second.read_bytes() == b"other"
    assert [one.name for one in images.cache().glob("unpacked/*raw")] == [second.name], "the former one stays"


@pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed here")
def test_zst(tmp_path):
    path = tmp_path / "a.qcow2"
    path.write_bytes(PLAIN)
    subprocess.run(["zstd", "-q", str(path)], check=True)
    assert images.given(tmp_path / "a.qcow2.zst").read_bytes() == PLAIN


def test_a_packed_image_that_is_cut_short_leaves_nothing(tmp_path):
    path = tmp_path / "a.raw.xz"
    path.write_bytes(PACKED[: len(PACKED) // 2])
    with pytest.raises(VmError, match="is it complete"):
        images.given(path)
    assert not list(images.cache().glob("unpacked/*raw*"))


def test_no_file(tmp_path):
    with pytest.raises(VmError, match=r"FREEBSD_IMAGE: .*nowhere is no file"):
        images.given(tmp_path / "nowhere")


def test_a_full_disk_is_reported_before(tmp_path):
    with pytest.raises(VmError, match="MiB free.*SOKUHAI_CACHE"):
        ROOM(tmp_path, 1 << 60, "unpacking")


def test_fetched_checked_unpacked_and_kept(server, official):
    target = official(GOOD)
    assert target.read_bytes() == PLAIN
    assert sorted(one.name for one in target.parent.iterdir()) == [".lock", target.name], (
        "packed file or leftovers kept"
    )
    server.files.clear()
    assert official(GOOD) == target, "asked the server again"
    assert images.present("15.1") and images.present() and not images.present("14.4")


def test_what_is_not_the_pinned_file_is_thrown_away(official):
    with pytest.raises(VmError, match=r"images\.toml says 0000"):
        official("0" * 128)
    assert not list((images.cache() / "official").glob("Free*"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_off_fetch_goes_on(server, official, ranges):
    server.cut, server.ranges = 100_000, ranges
    with pytest.raises(VmError, match="goes on from there"):
        official(GOOD)
    assert part().stat().st_size == 100_000
    server.cut = None
    assert official(GOOD).read_bytes() == PLAIN
    assert server.asked[-1] == (NAME, "bytes=100000-")


@pytest.mark.parametrize(
    "there, asked",
    [
        # the beginning of another version is not kept
        (b"x" * 50_000, ["bytes=50000-", None]),
        # all was fetched but not yet checked
        (PACKED, [f"bytes={len(PACKED)}-"]),
    ],
)
def test_what_an_earlier_fetch_left(server, official, there, asked):
    part().parent.mkdir(parents=True)
    part().write_bytes(there)
    assert official(GOOD).read_bytes() == PLAIN
    assert [wanted for _, wanted in server.asked] == asked


def test_without_a_pin_the_folders_list_is_trusted_once(server, official):
    server.files[FOLDER + "CHECKSUM.SHA512"] = f"SHA512 (other) = {'1' * 128}\nSHA512 ({NAME}) = {GOOD}\n".encode()
    target = official("")
    assert target.read_bytes() == PLAIN
    assert any("pins no checksum" in line and "this once" in line for line in official.said)
    # the next time the recorded one holds, whatever the folder says then
    target.unlink()
    server.files[FOLDER + "CHECKSUM.SHA512"] = f"SHA512 ({NAME}) = {'2' * 128}\n".encode()
    assert official("").read_bytes() == PLAIN


def test_a_list_without_https_proves_nothing(monkeypatch):
    entry = {"file": NAME, "folder": "http://mirror.example/x", "sha512": ""}
    with pytest.raises(VmError, match="use an https mirror"):
        images.expected(entry, images.cache(), print)


def test_a_list_that_lacks_the_file(server, official):
    server.files[FOLDER + "CHECKSUM.SHA512"] = f"SHA512 ({NAME}x) = {GOOD}\nSHA512 ({NAME}) = short\n".encode()
    with pytest.raises(VmError, match="has no SHA-512"):
        official("")


def test_the_server_is_not_there(official, monkeypatch):
    monkeypatch.setenv("FREEBSD_MIRROR", "http://127.0.0.1:1")
    for pin in (GOOD, ""):
        with pytest.raises(VmError, match="FREEBSD_IMAGE=") as error:
            official(pin)
        assert "\n" not in str(error.value), "one line"


def test_an_unknown_release():
    with pytest.raises(VmError, match=r"FREEBSD_RELEASE: 9\.0 is not in images\.toml, which has 14"):
        images.official("9.0")


def test_the_data():
    """Supported releases, each with the official name, and a checksum that could be one."""
    known = images.releases()
    assert {version.split(".")[0] for version in known} == {"14", "15"}
    for name, entry in known.items():
        version, _, filesystem = name.partition("-")
        assert entry["file"] == f"FreeBSD-{version}-RELEASE-amd64-BASIC-CLOUDINIT-{filesystem or 'ufs'}.qcow2.xz"
        assert entry["folder"] == f"https://download.freebsd.org/releases/VM-IMAGES/{version}-RELEASE/amd64/Latest"
        assert re.fullmatch(r"([0-9a-f]{128})?", entry["sha512"])


def test_without_a_word_it_is_the_newest_on_ufs(server, official):
    """15.1-zfs is newer by its name than 15.1, and nobody asked for it."""
    target = official(GOOD)
    assert images.official(None, print) == target


def test_the_workflow_runs_both_branches_and_both_file_systems():
    """Every row is an image of images.toml, and no row gets another's from the cache of the runners."""
    workflow = yaml.safe_load((vmkit("paths").REPOSITORY / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["freebsd"]
    rows = job["strategy"]["matrix"]["release"]
    known = images.releases()
    assert {(name.split(".")[0], name.partition("-")[2] or "ufs") for name in rows} >= {
        ("14", "ufs"),
        ("15", "ufs"),
        ("15", "zfs"),
    }
    assert set(rows) <= set(known)
    assert job["env"]["FREEBSD_RELEASE"] == "${{ matrix.release }}"
    for step in job["steps"]:
        for key in ("key", "name"):
            if key in step.get("with", {}):
                assert "${{ matrix.release }}" in step["with"][key]
