#!/bin/sh
# Prints the section "ours" of eddystone_eid.json: the identity key, then one line per code.
# Needs the openssl command line (3.0 or later) and GNU basenc; see README.md beside this file.
set -eu

bytes() { printf '%s' "$1" | basenc --decode --base16; }
hex() { basenc --wrap=0 --base16 | tr 'A-F' 'a-f'; }
aes_128() { bytes "$2" | openssl enc -aes-128-ecb -nopad -K "$1" | hex; }

# RFC 5903, section 8.1: the initiator stands for the jack, the responder for the server.
jack=04DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C37725811805271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3
server=04D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF6356FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB
secret=D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE
info=$(printf 'cigarjack beacon identity key v1' | hex)

identity_key=$(openssl kdf -binary -keylen 16 -kdfopt digest:SHA256 -kdfopt "hexkey:$secret" \
    -kdfopt "hexsalt:$server$jack" -kdfopt "hexinfo:$info" HKDF | hex)
echo "identity_key $identity_key"

while read -r k counter_s; do
    temporary_key_block=$(printf '%022XFF0000%04X' 0 $((counter_s >> 16)))
    temporary_key=$(aes_128 "$identity_key" "$temporary_key_block")
    code_block=$(printf '%022X%02X%08X' 0 "$k" $((counter_s >> k << k)))
    code=$(aes_128 "$temporary_key" "$code_block" | cut -c 1-16)
    echo "K=$k counter_s=$counter_s temporary_key=$temporary_key code=$code"
done <<'ROWS'
0 0
0 1
8 255
8 256
8 65279
8 65280
8 65535
8 65536
15 65535
15 65536
10 1735689600
8 1767225599
8 1767225600
8 2147483648
0 4294967295
8 4294967295
15 4294967295
ROWS
