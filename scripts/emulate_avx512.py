"""Execute the generated AVX-512 code on a machine without AVX-512: Linux, Python, NumPy and mlbench in Bochs, which emulates a Skylake-X.

    apt-get install bochs bochs-term bochsbios vgabios isolinux syslinux-common xorriso busybox-static
    apt-get download linux-image-6.1.0-56-cloud-amd64 && dpkg-deb -x linux-image-*.deb kernel    # any kernel with drivers built in
    python scripts/emulate_avx512.py --kernel kernel/boot/vmlinuz-*                              # the zoo, at several batch sizes
    python scripts/emulate_avx512.py --kernel kernel/boot/vmlinuz-* tests/compiler/test_body.py  # tests as well

Development only, on Debian or Ubuntu. The script packs this Python, the installed NumPy and pytest, `src` and `tests` into an image of
some 90 MB, boots it, and prints what comes over the serial line. It ends with 1 at a wrong result or a failing test.

Bochs 2.7 as Debian has it executes some 35 million instructions a second on an idle core: it boots in one minute, the zoo takes two, and
`tests/compiler/test_body.py` an hour. A Bochs that was built with `--enable-all-optimizations` and without its debugger is four times as
fast; `--bochs` names it.
"""

from __future__ import annotations

import argparse
import compileall
import gzip
import importlib.metadata
import os
import pty
import py_compile
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "pytest", "pluggy", "iniconfig", "packaging", "pygments", "hypothesis", "sortedcontainers", "msgspec", "capstone")
"""Distributions that are packed where they are installed."""
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo", "site-packages", "pydoc_data", "f2py"}
"""Folders of Python and of the packages that are not packed."""
LEFT_OUT_ENDINGS = (".a", ".pyi", ".h", ".exe")
ISOLINUX = ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
BUSYBOX = Path("/bin/busybox")
ENDED = "ENDED"
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mkdir -p /dev/shm
exec </dev/ttyS0 >/dev/ttyS0 2>&1
cd /project
export HOME=/tmp PYTHONPATH=/project/src:/project/tests PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=1
{python} /project/check.py {arguments}
echo "{ended} $?"
/bin/busybox sleep 2
/bin/busybox poweroff -f
"""
CHECK = """
import sys

import numpy as np

from mlbench import OptimizedRunner, mlp
from mlbench.compiler.x86 import find
from mlbench.ir import interpret
from mlbench.models.zoo import ZOO, load_zoo

vectors, why = find()
print("code for", vectors.name if vectors else why, flush=True)
failed = vectors is None or vectors.name != "AVX-512"
networks = {"64-64-10": mlp(64, (64,), 10), "256-256-256": mlp(256, (256,), 256)} | {name: load_zoo(name) for name in ZOO}
for name, model in networks.items():
    runner, graph, worst = OptimizedRunner(model, 64), model.graph(), 0.0
    for rows in (1, 3, 14, 15, 31, 64):
        random = np.random.default_rng(rows)
        xs = [random.standard_normal((rows, columns), dtype=np.float32) for columns in graph.inputs.values()]
        found = runner.run(*xs)
        outputs = found.values() if isinstance(found, dict) else [found]
        for output, exact in zip(outputs, interpret(graph, xs), strict=True):
            worst = max(worst, float(np.max(np.abs(output - exact) / (1 + np.abs(exact)))))
    failed |= not worst < 1e-4
    print(f"{name:16} largest error {worst:.1e}", "WRONG" if not worst < 1e-4 else "", flush=True)
if sys.argv[1:]:
    import pytest

    plain = ["-q", "--assert=plain", "--rootdir=/project", "-c", "/dev/null", "-p", "no:cacheprovider", "-o", "pythonpath=tests"]
    failed |= pytest.main([*plain, *sys.argv[1:]]) != 0
sys.exit(failed)
"""
BOCHS = """display_library: {display}
megs: 1024
cpu: model={model}, ips=100000000, reset_on_triple_fault=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path={image}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={serial}
log: {log}
panic: action=fatal
error: action=ignore
info: action=ignore
clock: sync=none
"""
LOADER = """default linux
label linux
 kernel vmlinuz
 append initrd=initrd.gz console=ttyS0 quiet nokaslr mitigations=off random.trust_cpu=on tsc=reliable no_timer_check panic=-1
"""


def main() -> None:
    """Read the options, make the image, boot it and show what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--kernel", type=Path, required=True, help="vmlinuz of a kernel for x86-64")
    parser.add_argument("--bochs", default="bochs", help="program to start (default bochs)")
    parser.add_argument("--display", default="term", help="display library of that Bochs: term, or nogui where it was built with it")
    parser.add_argument("--model", default="corei7_skylake_x", help="processor; `bochs --help cpu` lists them (default corei7_skylake_x)")
    parser.add_argument("--hours", type=float, default=2.0, help="end it after so long (default 2)")
    parser.add_argument("tests", nargs="*", help="what pytest runs there, with its options behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        image = _image(work, options.kernel, options.tests)
        print(f"an image of {image.stat().st_size / 1e6:.0f} MB", flush=True)
        sys.exit(_boot(work, image, options))


def _image(work: Path, kernel: Path, tests: Sequence[str]) -> Path:
    """Return a disc that boots: the kernel, and a file system with all that runs."""
    root, disc = work / "root", work / "disc"
    disc.mkdir()
    _fill(root, tests)
    with gzip.open(disc / "initrd.gz", "wb", compresslevel=1) as archive:
        for piece in _archive(root):
            archive.write(piece)
    shutil.rmtree(root)
    shutil.copy(kernel, disc / "vmlinuz")
    for path in ISOLINUX:
        shutil.copy(path, disc)
    (disc / "isolinux.cfg").write_text(LOADER, "utf-8")
    image = work / "image.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(image), "-b", "isolinux.bin", "-c", "boot.cat"]
    subprocess.run([*command, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(disc)], check=True)  # noqa: S603  # its own options
    return image


def _fill(root: Path, tests: Sequence[str]) -> None:
    """Put all that runs into a folder, where each file lies as it does here."""
    python = Path(sys.executable).resolve()
    library, site = Path(sysconfig.get_path("stdlib")).resolve(), Path(sysconfig.get_path("purelib"))
    found = [python, *_files(library)]
    packed = {python: python} | {path: path for path in found}
    for name in PACKAGES:
        for each in importlib.metadata.files(name) or ():
            path = Path(str(each.locate())).resolve()
            if path.is_file() and site.resolve() in path.parents and not LEFT_OUT & set(each.parts) and path.suffix not in LEFT_OUT_ENDINGS:
                packed[path] = library / "site-packages" / path.relative_to(site.resolve())
    for path in _libraries(path for path in packed if path == python or ".so" in path.name):
        packed.setdefault(path, path)
    for source, target in packed.items():
        _copy(source, root / target.relative_to("/"))
    _copy(BUSYBOX, root / "bin/busybox")
    for folder in ("src", "tests"):
        shutil.copytree(PROJECT / folder, root / "project" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(root / "project", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    (root / "project/check.py").write_text(CHECK, "utf-8")
    (root / "init").write_text(INIT.format(python=python, arguments=" ".join(f"'{each}'" for each in tests), ended=ENDED), "utf-8")
    (root / "init").chmod(0o755)
    for name in ("dev", "proc", "sys", "tmp"):
        (root / name).mkdir()


def _files(library: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(library):
        folders[:] = [each for each in folders if each not in LEFT_OUT and not each.startswith("config-")]
        yield from (Path(base, each) for each in names if not each.endswith(LEFT_OUT_ENDINGS))


def _libraries(programs: Iterator[Path]) -> set[Path]:
    """Return the shared libraries that programs and libraries load from the system, and what loads them."""
    found = {Path("/lib64/ld-linux-x86-64.so.2")}
    for program in programs:
        command = ["/usr/bin/ldd", str(program)]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603  # of this Python
        found.update(Path(line.split()[2]) for line in lines if "=> /" in line)
    return {each for each in found if "site-packages" not in each.parts}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _archive(root: Path) -> Iterator[bytes]:
    """Return the pieces of an archive as the kernel unpacks it (cpio, "newc"); times are kept, because compiled Python has its source's."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        kind = stat.S_IFDIR if path.is_dir() else stat.S_IFREG
        data = b"" if path.is_dir() else path.read_bytes()
        yield from _entry(number + 1, str(path.relative_to(root)), kind | 0o755, data, int(path.stat().st_mtime))
    yield from _entry(0, "TRAILER!!!", 0, b"", 0)


def _entry(number: int, name: str, mode: int, data: bytes, changed: int) -> Iterator[bytes]:
    encoded = name.encode() + b"\0"
    numbers = (number, mode, 0, 0, 1, changed, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % each for each in numbers) + encoded
    yield head + b"\0" * (-len(head) % 4)
    yield data + b"\0" * (-len(data) % 4)


def _boot(work: Path, image: Path, options: argparse.Namespace) -> int:
    """Run Bochs until it powers off, and return 0 where the guest said so."""
    serial, log, settings, start = (work / name for name in ("serial", "log", "bochsrc", "start"))
    settings.write_text(BOCHS.format(display=options.display, model=options.model, image=image, serial=serial, log=log), "utf-8")
    start.write_text("continue\n", "utf-8")  # for a Bochs with its debugger, as Debian's is
    command = [options.bochs, "-q", "-f", str(settings)]
    master, terminal = pty.openpty()
    deadline, shown = time.monotonic() + 3600 * options.hours, 0
    usage = subprocess.run([options.bochs, "--help"], capture_output=True, check=False)  # noqa: S603  # asked for
    if b"-rc" in usage.stdout + usage.stderr:
        command += ["-rc", str(start)]
    environment = {**os.environ, "TERM": "linux"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)  # noqa: S603  # asked for
    os.close(terminal)
    os.set_blocking(master, False)
    try:
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
            _drain(master)
            shown = _show(serial, shown)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    _show(serial, shown)
    said = serial.read_text("utf-8", "replace") if serial.exists() else ""
    if ENDED not in said:
        print(f"Bochs ended before the check did: {log.read_text('utf-8', 'replace')[-500:] if log.exists() else 'it wrote no log'}")
    return 0 if f"{ENDED} 0" in said else 1


def _drain(terminal: int) -> None:
    """Read what Bochs writes to its terminal, so that it does not wait."""
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:
        return  # nothing more for now, or Bochs has ended


def _show(serial: Path, shown: int) -> int:
    """Print what has come since, and return how much that is in all."""
    text = serial.read_bytes() if serial.exists() else b""
    sys.stdout.write(text[shown:].decode("utf-8", "replace"))
    sys.stdout.flush()
    return len(text)


if __name__ == "__main__":
    main()
