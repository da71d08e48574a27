#!/bin/bash
# Makes the test keys with openssl (3.0 or later). They are random: run it only to replace them, and then
# run ../extract.py again, because oaep/ and jwk/ are made from them. Refuses to overwrite.
set -euo pipefail
umask 022
cd "$(dirname "$0")"
if compgen -G 'test-*.pem' >/dev/null; then
    echo "test keys exist; delete them first" >&2
    exit 1
fi
pass=pass:sobre-test
genpkey_quiet() { openssl genpkey "$@" 2>/dev/null; }
rsa() { genpkey_quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$1" -pkeyopt "rsa_keygen_pubexp:$2"; }

# accepted
for bits in 2048 3072 4096; do
    rsa $bits 65537 >test-rsa$bits.pkcs8.pem
    openssl pkey -in test-rsa$bits.pkcs8.pem -pubout >test-rsa$bits.spki.pem
done
openssl rsa -in test-rsa2048.pkcs8.pem -traditional 2>/dev/null >test-rsa2048.pkcs1.pem
openssl rsa -in test-rsa2048.pkcs8.pem -RSAPublicKey_out 2>/dev/null >test-rsa2048.pkcs1-public.pem
openssl pkcs8 -topk8 -in test-rsa2048.pkcs8.pem -passout $pass -v2 aes-256-cbc -v2prf hmacWithSHA256 \
    -iter 10000 >test-rsa2048.pkcs8-encrypted.pem

# unsupported or weak encryption, or not PKCS#8
openssl pkcs8 -topk8 -in test-rsa2048.pkcs8.pem -passout $pass -scrypt -scrypt_N 16384 -scrypt_r 8 -scrypt_p 1 \
    >test-rsa2048.pkcs8-encrypted-scrypt.pem
openssl pkcs8 -topk8 -in test-rsa2048.pkcs8.pem -passout $pass -v1 PBE-SHA1-3DES >test-rsa2048.pkcs8-encrypted-pbes1.pem
openssl rsa -in test-rsa2048.pkcs8.pem -traditional -aes256 -passout $pass 2>/dev/null >test-rsa2048.pkcs1-encrypted.pem

# refused
rsa 1024 65537 >test-rsa1024.pkcs8.pem
openssl pkey -in test-rsa1024.pkcs8.pem -pubout >test-rsa1024.spki.pem
rsa 2048 3 >test-rsa2048-e3.pkcs8.pem
openssl pkey -in test-rsa2048-e3.pkcs8.pem -pubout >test-rsa2048-e3.spki.pem
rsa 2056 65537 >test-rsa2056.pkcs8.pem
openssl genrsa -primes 3 2048 2>/dev/null | openssl pkey >test-rsa2048-three-primes.pkcs8.pem
genpkey_quiet -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 >test-rsapss2048.pkcs8.pem
genpkey_quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve >test-ec-p256.pkcs8.pem
openssl pkey -in test-ec-p256.pkcs8.pem -pubout >test-ec-p256.spki.pem
openssl ec -in test-ec-p256.pkcs8.pem 2>/dev/null >test-ec-p256.sec1.pem
genpkey_quiet -algorithm ED25519 >test-ed25519.pkcs8.pem
openssl req -x509 -key test-rsa2048.pkcs8.pem -subj "/CN=sobre test certificate, not for use" -days 36500 -sha256 \
    >test-certificate.pem
head -n 12 test-rsa2048.pkcs8.pem >test-truncated-no-end.pem
{ head -n 12 test-rsa2048.pkcs8.pem; tail -n 1 test-rsa2048.pkcs8.pem; } >test-truncated-body.pem
cat test-rsa2048.pkcs8.pem test-rsa3072.pkcs8.pem >test-two-keys.pem
cat test-rsa2048.pkcs8.pem test-certificate.pem >test-key-and-certificate.pem
sed '2s/^./!/' test-rsa2048.pkcs8.pem >test-bad-base64.pem
sed 's/ PRIVATE KEY/ PUBLIC KEY/' test-rsa2048.pkcs8.pem >test-wrong-label.pem
