"""What each tool runs. File names are relative to the folder of the measurement."""

import os
from typing import NamedTuple

from measure import run

SUITES = {
    "xts-blake3": ["--key", "customer/disk"],
    "xts-gcm": ["--double", "--key", "customer/disk", "--platform-key", "platform/default"],
    "xts-gmac": ["--integrity", "gmac", "--key", "customer/disk"],
}
SEALED = "sealed"
RESTORED = "restored"


class Step(NamedTuple):
    """One measured command."""

    operation: str
    command: list
    target: str | None = None  # removed before the run, outside of the timing
    restored: str | None = None  # must equal the image afterwards
    before: list | None = None  # run before, outside of the timing


def setup(sobre, folder, environment):
    """Makes the keys and passwords of all tools, and gives sobre's customer key a second version for rewrap."""
    with open(os.path.join(folder, "first.img"), "wb") as image:
        image.write(os.urandom(1 << 20))
    for command in (
        [sobre, "-q", "seal", "first.img", "first.sealed"],
        [sobre, "vault", "create", "customer"],
        [sobre, "--vault", "customer", "key", "create", "disk"],
    ):
        run(command, folder, environment)
    os.remove(os.path.join(folder, "first.sealed"))
    with open(os.path.join(folder, "password"), "w", encoding="ascii") as password:
        password.write("correct horse battery staple")


def steps(tool, image, sobre, workers):
    """The steps of `tool` on `image`, in order; all but the first use what the first wrote."""
    if tool in SUITES:
        return _sobre(tool, image, sobre, workers)
    return {"age": _age, "cp": _cp, "openssl": _openssl, "qemu": _qemu, "restic": _restic}[tool](image)


def _sobre(suite, image, sobre, workers):
    threads = ["--workers", str(workers)]
    return [
        Step("seal", [sobre, "-q", "seal", *SUITES[suite], *threads, image, SEALED], SEALED),
        # dd copies every byte into its own memory, as a check sum needs it; cat may ask the kernel to copy to
        # /dev/null, which copies nothing. 256 KiB is the size of sobre's reads.
        Step("read", ["dd", f"if={SEALED}", "of=/dev/null", "bs=256K", "status=none"]),
        Step("verify keyless", [sobre, "-q", "verify", "--keyless", *threads, SEALED]),
        Step("read, two readers", ["sh", "-c", TWO_READERS]),
        Step("verify", [sobre, "-q", "verify", *threads, SEALED]),
        Step("open", [sobre, "-q", "open", *threads, SEALED, RESTORED], RESTORED, RESTORED),
    ]


def _age(image):
    return [
        Step("seal", ["age", "-R", "recipients", "-o", SEALED, image], SEALED, before=["sh", "-c", AGE_KEYS]),
        Step("open", ["age", "-d", "-i", "identity", "-o", RESTORED, SEALED], RESTORED, RESTORED),
    ]


def _cp(image):
    return [Step("copy", ["cp", "--reflink=never", "--sparse=auto", image, RESTORED], RESTORED, RESTORED)]


def _openssl(image):
    cipher = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-pass", "file:password"]
    return [
        Step("seal", [*cipher, "-in", image, "-out", SEALED], SEALED),
        Step("open", [*cipher, "-d", "-in", SEALED, "-out", RESTORED], RESTORED, RESTORED),
    ]


def _qemu(image):
    secret = ["--object", "secret,id=password,file=password"]
    # 10 ms for the password instead of two seconds: what is compared is the data path.
    options = ["-o", "key-secret=password,iter-time=10"]
    sealed = ["--image-opts", f"driver=luks,key-secret=password,file.filename={SEALED}"]
    return [
        Step("seal", ["qemu-img", "convert", *secret, "-f", "raw", "-O", "luks", *options, image, SEALED], SEALED),
        Step("open", ["qemu-img", "convert", *secret, "-O", "raw", *sealed, RESTORED], RESTORED, RESTORED),
    ]


def _restic(image):
    restic = ["restic", "-q", "-r", SEALED, "--password-file", "password", "--no-cache"]
    return [
        # Random bytes do not compress, and trying would cost restic time that the others do not spend.
        Step("seal", [*restic, "--compression", "off", "backup", image], SEALED, before=[*restic, "init"]),
        Step("open", [*restic, "restore", "latest", "--target", RESTORED], RESTORED, f"{RESTORED}/{image}"),
    ]


AGE_KEYS = "[ -e identity ] || { age-keygen -o identity && age-keygen -y identity >recipients; }"
TWO_READERS = f"""
half=$(($(stat -c %s {SEALED}) / 524288))
dd if={SEALED} of=/dev/null bs=256K status=none count=$half &
dd if={SEALED} of=/dev/null bs=256K status=none skip=$half
wait"""
