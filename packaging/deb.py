"""Builds the Debian package: a virtualenv of its own in /usr/lib/musicfs, and around it what a system needs.

How it thinks: what goes where is the table `PLACES`; the locked packages (uv.lock, with their hashes) go into
a virtualenv that is made with the distribution's own Python and then moved by nobody: its only path to the
outside is the link to that Python. Bytecode is made here and never looked at again (PEP 552, unchecked), so
the package is all there is on disk, and nothing is left when it goes.

What must always be true: the Python is /usr/bin/python3 and the package asks for its very minor version; the
libraries that it depends on are those its own .so files name.
It refuses to run without what `scripts/deb` installs.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = "/usr/bin/python3"
VENV = "usr/lib/musicfs"

PLACES = {
    "packaging/mount.musicfs": ("usr/sbin/mount.musicfs", 0o755),
    "packaging/sysusers": ("usr/lib/sysusers.d/musicfs.conf", 0o644),
    "packaging/completions/musicfs.bash": ("usr/share/bash-completion/completions/musicfs", 0o644),
    "packaging/completions/_musicfs": ("usr/share/zsh/vendor-completions/_musicfs", 0o644),
    "packaging/completions/musicfs.fish": ("usr/share/fish/vendor_completions.d/musicfs.fish", 0o644),
    "packaging/musicfs.1": ("usr/share/man/man1/musicfs.1.gz", 0o644),
    "CHANGELOG.md": ("usr/share/doc/musicfs/changelog.gz", 0o644),
    "LICENSE": ("usr/share/doc/musicfs/copyright", 0o644),
    "README.md": ("usr/share/doc/musicfs/README.md", 0o644),
    "systemd/musicfs.service": ("usr/lib/systemd/system/musicfs.service", 0o644),
    "systemd/musicfs@.service": ("usr/lib/systemd/user/musicfs@.service", 0o644),
}
"""File here → where it goes, and its mode; what ends in .gz is packed on the way."""

PROGRAM = f"""#!/{VENV}/bin/python3 -I
import sys

from musicfs.__main__ import main

sys.exit(main())
"""
"""`-I`: neither the user's PYTHONPATH nor packages in a home get into it."""


def run(*command: str | Path) -> str:
    """Run a program of the build, and give what it printed; its complaints go to the terminal."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return done.stdout


def version() -> str:
    """Read the one place that has the version, and write it as Debian sorts it: 1.0rc1 comes before 1.0."""
    found = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "musicfs/__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("there is no version in musicfs/__init__.py")
    return re.sub(r"(\d)\.?(a|b|rc|dev)(\d+)", r"\1~\2\3", found[1])


def furnish(tree: Path) -> Path:
    """Make the virtualenv; gives its site-packages."""
    venv = tree / VENV
    run(PYTHON, "-m", "venv", "--without-pip", "--symlinks", venv)
    python, uv = str(venv / "bin/python3"), ROOT / ".venv/bin/uv"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(run(uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project"))
        wanted.flush()
        install = (uv, "pip", "install", "--quiet", "--no-config", "--link-mode=copy", "--python", python)
        run(*install, "--require-hashes", "-r", wanted.name)
        run(*install, "--no-deps", ROOT)
    (site,) = venv.glob("lib/python3.*/site-packages")
    for left in (venv / "share", venv / "include", venv / "lib64", venv / ".gitignore", venv / ".lock"):
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)
    for program in (venv / "bin").iterdir():
        if program.name not in ("python", "python3", site.parent.name):
            program.unlink()
    for told in site.glob("*.dist-info/direct_url.json"):
        told.unlink()  # where this clone happened to be
    config = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {sys.version.split()[0]}\n"
    (venv / "pyvenv.cfg").write_text(config)
    for cache in venv.rglob("__pycache__"):
        shutil.rmtree(cache)
    compiled = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
    run(PYTHON, *compiled, "-s", str(tree), "-p", "/", site)
    return site


def lay_out(tree: Path) -> None:
    """Put everything but the virtualenv where it goes."""
    for name, (place, mode) in PLACES.items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        data = (ROOT / name).read_bytes()
        target.write_bytes(gzip.compress(data, mtime=0) if place.endswith(".gz") else data)
        target.chmod(mode)
    program = tree / "usr/bin/musicfs"
    program.parent.mkdir(exist_ok=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tree / "etc/musicfs").mkdir(parents=True)


def libraries(site: Path) -> str:
    """Ask dpkg-shlibdeps which packages the compiled modules need."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "debian").mkdir()
        (Path(place) / "debian/control").write_text(
            "Source: musicfs\n\nPackage: musicfs\nArchitecture: any\n"
        )
        modules = [str(path) for path in site.rglob("*.so")]
        done = subprocess.run(
            ["dpkg-shlibdeps", "--ignore-missing-info", "-O", *(f"-e{path}" for path in modules)],
            cwd=place,
            check=True,
            capture_output=True,
            text=True,
        )
    return done.stdout.strip().removeprefix("shlibs:Depends=")


def control(tree: Path, site: Path, revision: str) -> None:
    """Write DEBIAN/: the package's description and the scripts of its life."""
    minor = sys.version_info.minor
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    depends = ", ".join(
        (
            f"python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1}~), python3.{minor}",
            libraries(site),
            "fuse3, procps, systemd | systemd-standalone-sysusers | systemd-sysusers",
        )
    )
    folder = tree / "DEBIAN"
    folder.mkdir()
    filled = (
        (HERE / "debian/control")
        .read_text()
        .format(
            version=f"{version()}-{revision}",
            architecture=run("dpkg", "--print-architecture").strip(),
            size=size,
            depends=depends,
        )
    )
    (folder / "control").write_text(filled)
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(HERE / "debian" / name, folder)
        (folder / name).chmod(0o755)
    sums = run("sh", "-c", 'cd "$0" && find usr -type f -print0 | sort -z | xargs -0 md5sum', tree)
    (folder / "md5sums").write_text(sums)


def main() -> int:
    """Build one package and say where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--revision", default="1", help="what follows the version, behind a dash")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist/")
    args = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "musicfs"
        tree.mkdir(mode=0o755)
        site = furnish(tree)
        lay_out(tree)
        control(tree, site, args.revision)
        args.out.mkdir(parents=True, exist_ok=True)
        build = ("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(tree), str(args.out))
        print(run(*build).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
