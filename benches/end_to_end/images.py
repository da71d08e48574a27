"""Makes the images: random bytes, so that nothing compresses or deduplicates, and the same in every run."""

import subprocess

from measure import GIB, MIB

# sobre's chunk is 256 KiB, so these runs hold whole chunks: what is measured is the cost of a hole, not of its edges.
HALF_RUN = MIB
SERIES_RUN = 256 << 10
SERIES_PERIOD = 64 * SERIES_RUN


def dense(path, size):
    """Writes `size` bytes without a hole."""
    _write(path, size, MIB, MIB)


def half_holes(path, size):
    """Writes 1 MiB of data and 1 MiB of hole in turn."""
    _write(path, size, HALF_RUN, 2 * HALF_RUN)


def sparse(path, size):
    """Writes 256 KiB of data in every 16 MiB: one part in 64."""
    _write(path, size, SERIES_RUN, SERIES_PERIOD)


def sparse_data(size):
    """Bytes of data in a sparse image of `size` bytes."""
    return size // SERIES_PERIOD * SERIES_RUN


def series(size):
    """Sizes of the sparse images; a smoke run makes the first two only."""
    return [count * GIB for count in ((1, 4, 16, 64) if size >= GIB else (1, 4))]


def _write(path, size, data, period):
    # A cipher's key stream is random enough and several times faster than /dev/urandom.
    source = subprocess.Popen(
        ["openssl", "enc", "-aes-256-ctr", "-K", "51" * 32, "-iv", "0" * 32, "-in", "/dev/zero"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        with open(path, "wb", buffering=0) as image:
            image.truncate(size)
            for start in range(0, size, period):
                piece = source.stdout.read(data)
                if len(piece) != data:
                    raise OSError("openssl ended early")
                image.seek(start)
                if image.write(piece) != data:
                    raise OSError(f"no room for {path}")
    finally:
        source.stdout.close()
        source.kill()
        source.wait()
