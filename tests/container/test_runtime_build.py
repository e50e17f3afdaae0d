"""The runtime's build: reproducible, within its sizes, and strict about what it patches."""

import hashlib
import os
import re
import stat
import subprocess
import sys
import tomllib

import pytest

from images.runtime import debs, elf, licences, manifest, patches
from images.runtime.build import DEBS_LOCK, MAX_COMPRESSED, MAX_ON_DISK, PROJECT, key_of
from images.runtime.commands import BuildFailed


def stock(runtime_dir, name):
    root = runtime_dir.parent / f"cache/root-{key_of(DEBS_LOCK)}"
    return (root / "lib/x86_64-linux-gnu" / name).resolve()


def test_building_again_from_nothing_but_the_packages_gives_the_same_tree(runtime_dir, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    # downloads are checked by digest anyway; everything made of them is made again
    os.symlink(runtime_dir.parent / "cache/debs", cache / "debs")

    subprocess.run(
        [
            *(sys.executable, "-m", "images.runtime.build"),
            *("--cache", cache, "--output", tmp_path / "runtime"),
        ],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )

    assert manifest.digest(tmp_path / "runtime") == manifest.digest(runtime_dir)


def test_the_tree_records_its_own_digest(runtime_dir):
    assert (runtime_dir / "digest").read_text() == f"{manifest.digest(runtime_dir)}\n"


def test_the_sizes_are_within_the_limits(runtime_dir):
    assert manifest.size_on_disk(runtime_dir) <= MAX_ON_DISK
    assert manifest.size_compressed(runtime_dir) <= MAX_COMPRESSED


def test_the_tree_holds_only_plain_files_that_root_alone_can_write(runtime_dir):
    for path in (runtime_dir, *runtime_dir.rglob("*")):
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode), path
        assert status.st_mode & 0o7022 == 0, path
        assert status.st_uid == 0, path


def test_no_library_remembers_a_directory_to_search(runtime_dir):
    for path in elf.elf_files(runtime_dir):
        described = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True).stdout
        run_paths = [line for line in described.splitlines() if "PATH)" in line]
        assert [line for line in run_paths if "$ORIGIN" not in line] == [], path


def test_byte_code_of_our_own_and_of_every_package_is_there(runtime_dir):
    for source in (*runtime_dir.glob("app/**/*.py"), *runtime_dir.glob("site/*/__init__.py")):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
        assert flags == 0b01, f"{compiled}: not an unchecked hash"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("ld-linux-x86-64.so.2", patches.LOADER), ("libc.so.6", patches.LIBC)],
)
def test_a_library_that_differs_from_the_expected_one_is_refused(
    runtime_dir, tmp_path, name, wanted
):
    for patch in wanted:
        copy = tmp_path / name
        content = stock(runtime_dir, name).read_bytes()
        copy.write_bytes(content.replace(patch.old, b"?" * len(patch.old), 1))
        before = copy.read_bytes()

        with pytest.raises(BuildFailed, match="expected"):
            patches.apply(copy, wanted)
        assert copy.read_bytes() == before


def test_no_path_of_the_image_is_left_in_loader_and_libc(runtime_dir):
    loader = (runtime_dir / "lib/sandbox-supervisor").read_bytes()
    libc = (runtime_dir / "lib/libc.so.6").read_bytes()
    for path in (b"/etc/ld.so.preload", b"/etc/ld.so.cache\0", b"/usr/lib/x86_64-linux-gnu/"):
        assert path not in loader
    for path in (b"/etc/nsswitch.conf\0", b"/nscd/socket", b"/var/run/nscd/so", b"/gconv\0"):
        assert path not in libc


def components(runtime_dir):
    lines = (runtime_dir / "licences" / licences.COMPONENTS).read_text().splitlines()
    return {
        name: (version, licence) for name, version, licence in (line.split("\t") for line in lines)
    }


def test_every_component_is_listed_with_its_version_and_its_licence_text(runtime_dir):
    listed = components(runtime_dir)
    locked = {deb.name: deb.version for deb in debs.read_lock(DEBS_LOCK)}
    pinned = re.findall(
        r"^(\S+)==(\S+) ", (PROJECT / "requirements.lock").read_text(), re.MULTILINE
    )
    wanted = {**locked, **{re.sub(r"[-_.]", "-", name): version for name, version in pinned}}

    found = {
        name if name in locked else re.sub(r"[-_.]", "-", name): version
        for name, (version, _) in listed.items()
    }
    assert found == {n: v for n, v in wanted.items() if n not in licences.NOT_IN_TREE}
    for name in listed:
        texts = [
            path for path in (runtime_dir / "licences" / name).iterdir() if path.stat().st_size
        ]
        assert texts, name


def test_the_copyleft_packages_come_with_their_whole_licence(runtime_dir):
    place = runtime_dir / "licences"

    gpl = (place / "python-prctl/COPYING").read_text()
    assert components(runtime_dir)["python-prctl"][1] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in gpl
    assert "Version 3, 29 June 2007" in gpl
    assert gpl.rstrip().endswith("<https://www.gnu.org/licenses/why-not-lgpl.html>.")
    assert "Eclipse Public License - v 2.0" in (place / "asyncssh/LICENSE").read_text()
    assert "GCC RUNTIME LIBRARY EXCEPTION" in (place / "libgcc-s1/copyright").read_text().upper()


def test_every_text_that_a_copyright_file_refers_to_is_there(runtime_dir):
    place = runtime_dir / "licences"

    for text in place.glob("*/copyright"):
        for name in re.findall(r"common-licenses/([\w-]+(?:\.\d)?)", text.read_text()):
            assert (place / licences.COMMON / name).read_text(), (text, name)


@pytest.mark.parametrize("lacks", ["a licence", "a text"])
def test_a_package_whose_licence_nobody_knows_is_not_built_in(tmp_path, lacks):
    package = debs.Deb(name="stranger", version="1", sha256="0" * 64)
    known = debs.Deb(name="zlib1g", version="1", sha256="0" * 64)
    (tmp_path / "site").mkdir()

    with pytest.raises(BuildFailed, match="licence" if lacks == "a licence" else "copyright"):
        licences.collect(
            (package if lacks == "a licence" else known,),
            tmp_path, tmp_path / "site", tmp_path / "licences",
        )  # fmt: skip


def test_a_package_that_differs_from_the_lock_is_refused(tmp_path):
    (locked,) = (deb for deb in debs.read_lock(DEBS_LOCK) if deb.name == "zlib1g")
    wrong = debs.Deb(name=locked.name, version=locked.version, sha256="0" * 64)

    with pytest.raises(BuildFailed, match=r"debs\.lock says"):
        debs.fetch(wrong, tmp_path)

    assert list(tmp_path.glob("*.deb")) == []


def test_a_version_that_left_the_archive_names_the_remedy(tmp_path):
    gone = debs.Deb(name="zlib1g", version="1:0.0-0", sha256="0" * 64)

    with pytest.raises(BuildFailed) as refused:
        debs.fetch(gone, tmp_path)

    assert "images/runtime/update-lock" in refused.value.remedy


def test_the_digest_depends_on_content_path_and_mode_only(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib/file").write_bytes(b"x")
        (tmp_path / name / "lib/file").chmod(0o644)
    os.utime(tmp_path / "two/lib/file", (1, 1))
    assert manifest.digest(tmp_path / "one") == manifest.digest(tmp_path / "two")
    line = f"0644 {hashlib.sha256(b'x').hexdigest()} lib/file\n"
    assert manifest.digest(tmp_path / "one") == hashlib.sha256(line.encode()).hexdigest()

    (tmp_path / "two/lib/file").chmod(0o755)
    assert manifest.digest(tmp_path / "one") != manifest.digest(tmp_path / "two")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_host_and_holds_every_dependency_with_digests(name):
    text = (PROJECT / name).read_text()
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = declared["dependencies"] + declared["optional-dependencies"]["sessions"]

    assert "://" not in text
    locked = [line for line in text.splitlines() if "==" in line]
    assert all(line.endswith("\\") for line in locked)
    names = {line.split("==")[0] for line in locked}
    for requirement in wanted:
        assert re.split(r"[<>=~!]", requirement)[0].replace(".", "-") in names, requirement
