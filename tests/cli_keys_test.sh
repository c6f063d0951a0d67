#!/bin/bash
# test: timeout=60
# tram keys: what it makes, shows and refuses; and OpenSSL's own tool agrees, where it is there.

. "$(dirname "$0")/support/cli.sh"

[[ $TRAM_SERVICE == ON ]] || { echo "skipped, because there is no second layer"; exit 77; }
if [[ $(tram keys show 2>&1) == *"built without TLS"* ]]; then
    echo "skipped, because there is no OpenSSL"
    exit 77
fi
export TRAM_KEYS_DIR=$work/ca
cd "$work" || exit 1

# show PATH-or-nothing EXPRESSION: of the JSON.
show() {
    local what=$1
    shift
    tram keys show --json "$@" | python3 -c \
        "import json, sys; j = json.load(sys.stdin); d = {e['name']: e for e in j}; print($what)"
}

mode() {
    stat -c %a "$1"
}

init_makes_a_ca() {
    expect 3 tram keys show
    has "$err" "'tram keys init' makes them"
    expect 2 tram keys init
    expect 2 tram keys init 'a b'
    has "$err" "'a b' is no name of a cluster"
    expect 0 tram keys init plant
    has "$out" "whoever has ca.key"
    is "$(mode ca)" 700
    is "$(mode ca/ca.key)" 600
    expect 4 tram keys init plant
    has "$err" "another needs another folder"
    is "$(show 'len(j), j[0]["kind"], j[0]["cluster"], j[0]["state"]')" "1 ca plant good"
}

hosts_get_bundles() {
    umask 000 # it doesn't matter
    expect 0 tram keys host alpha beta
    is "$out" $'alpha.keys\nbeta.keys'
    is "$(mode alpha.keys)" 600
    expect 4 tram keys host alpha
    has "$err" "--force"
    expect 0 tram keys host --out sub.keys --days 20 --address 10.0.0.3 --address g.example gamma
    expect 2 tram keys host '../x'
    expect 2 tram keys host --address 'a,b' delta
    expect 2 tram keys host --address 10.0.0.1 delta epsilon
    [[ $(<alpha.keys) != *"$(grep -v ^- ca/ca.key)"* ]] || fail "the CA's key left its folder"
    is "$(show 'len(j)')" 4
    is "$(show 'd["gamma"]["state"]')" "ends soon"
    is "$(show 'd["gamma"]["addresses"]')" "10.0.0.3 g.example"
    is "$(show 'sorted(e["name"] for e in j)' beta.keys)" "['', 'beta']"
    is "$(show 'd["beta"]["sha256"]' beta.keys)" "$(show 'd["beta"]["sha256"]')"
    expect 0 tram keys host --program robot
    is "$(show 'd["robot"]["kind"]')" program
    expect 0 tram keys show
    has "$out" "SHA-256 $(show 'd["beta"]["sha256"]')"
}

openssl_agrees() {
    local one
    command -v openssl >/dev/null || return 0
    openssl verify -CAfile ca/ca.crt ca/issued/*.crt >/dev/null || fail "openssl verify"
    for one in ca/issued/alpha-*; do
        has "$(openssl x509 -in "$one" -noout -text)" "URI:tram://plant/host/alpha"
    done
    has "$(openssl crl -in ca/revoked.crl -CAfile ca/ca.crt -noout 2>&1)" "verify OK"
}

revoked_are_listed() {
    local serial
    expect 3 tram keys revoke nobody
    expect 0 tram keys revoke beta
    has "$out" "1 revoked; the list is $work/ca/revoked.crl"
    expect 0 tram keys revoke beta
    has "$out" "0 revoked"
    is "$(show 'd["beta"]["state"], d["alpha"]["state"]')" "revoked good"
    expect 0 tram keys renew beta # it may come back, with another key
    is "$(show 'sorted(e["state"] for e in j if e["name"] == "beta")')" "['good', 'revoked']"
    serial=$(show 'd["gamma"]["serial"]')
    expect 0 tram keys revoke "$serial"
    is "$(show 'd["gamma"]["state"]')" revoked
    openssl_agrees
}

renewed_are_as_before() {
    local before
    expect 3 tram keys renew nobody
    before=$(show 'd["alpha"]["serial"]' alpha.keys)
    expect 0 tram keys renew alpha
    [[ $(show 'd["alpha"]["serial"]' alpha.keys) != "$before" ]] || fail "the same certificate"
    expect 0 tram keys renew gamma
    is "$(show 'd["gamma"]["addresses"]' gamma.keys)" "10.0.0.3 g.example"
    expect 0 tram keys renew robot
    is "$(show 'd["robot"]["kind"]' robot.keys)" program
    before=$(show 'd[""]["sha256"]')
    expect 0 tram keys renew --ca --days 7000
    [[ $(show 'd[""]["sha256"]') != "$before" ]] || fail "the same CA"
    openssl_agrees
}

passphrases_are_asked_for() {
    export TRAM_KEYS_DIR=$work/locked
    echo correct >pw
    echo wrong >no
    expect 0 tram keys init --passphrase-file pw vault
    has "$(<locked/ca.key)" "ENCRYPTED"
    expect 1 setsid "$TRAM_BIN" keys host one
    has "$err" "--passphrase-file"
    expect 1 tram keys host --passphrase-file no one
    has "$err" "that is not the passphrase"
    expect 0 tram keys host --passphrase-file pw one
    expect 0 tram keys show
    export TRAM_KEYS_DIR=$work/ca
}

what_is_broken_is_told() {
    chmod 644 ca/ca.key
    expect 1 tram keys host delta
    has "$err" "others than its owner may read it"
    chmod 600 ca/ca.key
    cp locked/revoked.crl ca/revoked.crl
    expect 1 tram keys host delta
    has "$err" "not signed by the CA"
    head -c 100 alpha.keys >short.keys
    expect 1 tram keys show short.keys
    has "$err" "short.keys is no file of keys"
    expect 3 tram keys show nowhere.keys
    expect 2 tram keys
    expect 2 tram keys dance
    has "$err" "'dance' is none of"
}

init_makes_a_ca
hosts_get_bundles
openssl_agrees
revoked_are_listed
renewed_are_as_before
passphrases_are_asked_for
what_is_broken_is_told
