# SPDX-License-Identifier: GPL-2.0-or-later
# openssl, gzip, xz and sha256sum over the file $1; every line must be the same wherever it runs.
file=$1
for d in md5 sha1 sha256 sha512 sha3-512 blake2b512 sm3 ripemd160; do
	openssl dgst -$d <"$file" 2>/dev/null | tail -c 33
done
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
for c in aes-128-cbc aes-256-ctr aes-256-ecb camellia-256-cbc aria-128-ctr chacha20 des-ede3-cbc sm4-cbc; do
	n=32; case $c in *128*|sm4*) n=16;; des*) n=24;; esac
	k=$(echo $key | cut -c1-$((n * 2)))
	openssl enc -$c -K $k -iv 00112233445566778899aabbccddeeff -in "$file" -out /tmp/selftest.enc 2>/dev/null
	openssl enc -d -$c -K $k -iv 00112233445566778899aabbccddeeff -in /tmp/selftest.enc 2>/dev/null |
		cmp -s - "$file" && same=same || same=different
	echo "$c $(sha256sum </tmp/selftest.enc | cut -c1-24) $same"
done
for kind in rsa ed25519 ec; do
	case $kind in
	rsa) openssl genrsa -out /tmp/selftest.key 1024 2>/dev/null;;
	ed25519) openssl genpkey -algorithm ed25519 -out /tmp/selftest.key 2>/dev/null;;
	ec) openssl ecparam -name prime256v1 -genkey -noout -out /tmp/selftest.key 2>/dev/null;;
	esac
	openssl pkey -in /tmp/selftest.key -pubout -out /tmp/selftest.pub 2>/dev/null
	head -c 64 "$file" >/tmp/selftest.msg
	openssl pkeyutl -sign -rawin -inkey /tmp/selftest.key -in /tmp/selftest.msg -out /tmp/selftest.sig 2>/dev/null
	echo "$kind $(openssl pkeyutl -verify -rawin -pubin -inkey /tmp/selftest.pub -in /tmp/selftest.msg \
		-sigfile /tmp/selftest.sig 2>&1)"
done
/usr/bin/gzip -n -9 <"$file" >/tmp/selftest.gz && echo "gzip $(sha256sum </tmp/selftest.gz | cut -c1-24) $(/usr/bin/gzip -dc /tmp/selftest.gz | cmp - "$file" && echo same)"
/usr/bin/xz -6 --check=crc64 <"$file" >/tmp/selftest.xz && echo "xz $(sha256sum </tmp/selftest.xz | cut -c1-24) $(/usr/bin/xz -dc /tmp/selftest.xz | cmp - "$file" && echo same)"
