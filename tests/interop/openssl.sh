#!/usr/bin/env bash
# OpenSSL's command line as an oracle for RSA-OAEP, SHA-256, HKDF and HMAC: see openssl.py.
. "$(dirname -- "$0")/lib.sh"
need openssl "$PYTHON"
"$PYTHON" -B "$here/openssl.py" "$SOBRE" "$root/vectors/disks/ext4.img" "$work"
