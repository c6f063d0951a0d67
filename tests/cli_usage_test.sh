#!/bin/bash
# test: timeout=120
# What the tool says about itself and about mistakes: help, version, exit codes, error texts.

. "$(dirname "$0")/support/cli.sh"

verbs="send recv ls top doctor dump rm purge retry"

help_of_all() {
    expect 0 tram --help
    for verb in $verbs bench; do
        has "$out" "  $verb"
    done
    has "$out" "Exit codes: 0 done"
    local whole=$out
    expect 0 tram help
    is "$out" "$whole"
    expect 0 tram --version
    [[ $out =~ ^tram\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$out"
}

help_of_each() {
    for verb in $verbs; do
        expect 0 tram "$verb" --help
        has "$out" "usage: tram $verb "
        has "$out" "Example"
        has "$out" $'\n'"  tram $verb"
        has "$out" "Exit codes: 0 done"
        is "$err" ""
        local text=$out line
        while read -r line; do
            ((${#line} <= 100)) || fail "tram $verb --help: too wide: $line"
        done <"$work/out"
        expect 0 tram help "$verb"
        is "$out" "$text"
        # Every option that the help names is one.
        for option in $(grep -o -- '^  --[a-z-]*' <<<"$text"); do
            tram "$verb" "$option" </dev/null 2>&1 >/dev/null |
                grep -q "there is no option" && fail "tram $verb knows no $option"
        done
    done
    expect 0 tram bench --help
    has "$out" "usage: tram bench"
    expect 0 tram help bench
}

# wrong TEXT COMMAND…: exit code 2, the text, and where the help is.
wrong() {
    local text=$1
    shift
    expect 2 "$@"
    is "$out" ""
    has "$err" "$text"
    has "$err" "; see 'tram"
    is "$(wc -l <"$work/err")" 1
}

mistakes() {
    wrong "tram: a verb is missing" tram
    wrong "tram: there is no verb 'sned'" tram sned
    wrong "tram: there is no option --wrong" tram --wrong
    wrong "tram send: --from is missing" tram send
    wrong "tram send: --to is missing" tram send --from $A
    wrong "tram send: --from needs a value" tram send --from
    wrong "tram send: there is no option --form" tram send --form $A
    wrong "tram send: there is no option -x" tram send -x
    wrong "tram send: --from '1.2.3' is not an ID" tram send --from 1.2.3 --to $B
    wrong "tram send: --to '0.0.0.0' is not an ID" tram send --from $A --to 0.0.0.0
    wrong "tram send: --to '1.2.3.256' is not an ID" tram send --from $A --to 1.2.3.256
    wrong "tram send: --tag '4294967296' is not a number from 0 to 4294967295" \
        tram send --from $A --to $B --tag 4294967296
    wrong "tram send: --tag '-1' is not a number" tram send --from $A --to $B --tag -1
    wrong "tram send: --size '0' is not a size from 1" tram send --from $A --to $B --size 0
    wrong "tram send: --size '5x' is not a size" tram send --from $A --to $B --size 5x
    wrong "tram send: --size '99G' is not a size" tram send --from $A --to $B --size 99G
    wrong "tram send: --base says from where on to --resume" tram send --from $A --to $B --base 3
    wrong "tram send: too many arguments" tram send --from $A --to $B one two
    wrong "tram recv: --id is missing" tram recv
    wrong "tram recv: --count '0' is not a number from 1" tram recv --id $B --count 0
    wrong "tram recv: --json and --raw, or --size, exclude" tram recv --id $B --json --raw
    wrong "tram recv: --at-seq needs --out, --size and --from" tram recv --id $B --at-seq
    wrong "tram recv: --from is for --at-seq" tram recv --id $B --from $A
    wrong "tram recv: too many arguments" tram recv --id $B x
    wrong "tram ls: the argument 'x' is not an ID" tram ls x
    wrong "tram dump: --from is missing" tram dump --to $B
    wrong "tram dump: --where 'here' is none of" tram dump --to $B --from $A --where here
    wrong "tram rm: an argument is missing" tram rm
    wrong "tram rm: the argument 'all' is not an ID" tram rm $A all
    wrong "tram purge: --from is missing" tram purge --to $B
    wrong "tram retry: --seq needs --from, and no --all" tram retry --id $B --seq 1
    wrong "tram retry: --drop what" tram retry --id $B --drop
    wrong "tram ls: 'a/b' is not the name of a bus" tram ls --bus a/b
}

no_such_thing() {
    for command in "ls" "dump --from $A --to $B" "retry --id $B"; do
        # shellcheck disable=SC2086
        expect 3 tram $command --bus none
        has "$err" "there is no bus at $TRAM_DIR/none"
    done
    echo x | tram send --from $A --to $B 2>/dev/null
    expect 3 tram ls 9.9.9.9
    is "$err" "tram ls: there is no node 9.9.9.9 on this bus ($TRAM_DIR/default)"
    expect 3 tram dump --from $B --to $A
    has "$err" "there is no channel from $B to $A on this bus ($TRAM_DIR/default)"
    expect 3 tram dump --aside --to 9.9.9.9
    expect 3 tram retry --id 9.9.9.9
    expect 1 tram send --from $A --to $B "$work/no-such-file"
    is "$err" "tram send: $work/no-such-file cannot be opened: No such file or directory"
    expect 1 tram send --from $A --to $B "$work"
    has "$err" "tram send: $work cannot be read: Is a directory"
}

# --bus and --dir, before and behind the verb, and the environment.
which_bus() {
    mkdir -m 700 "$work/dir"
    echo 1 | tram --bus one send --from $A --to $B 2>/dev/null
    echo 2 | tram send --bus two --from $A --to $B 2>/dev/null
    echo 3 | TRAM_BUS=three tram send --from $A --to $B 2>/dev/null
    echo 4 | tram --dir "$work/dir" send --bus one --from $A --to $B 2>/dev/null
    is "$(TRAM_BUS=one tram recv --id $B --count 1)" 1
    is "$(tram recv --bus two --id $B --count 1)" 2
    is "$(TRAM_BUS=two tram --bus three recv --id $B --count 1)" 3
    is "$(TRAM_DIR=$work/dir tram recv --bus one --id $B --count 1)" 4
    is "$(ask "$(tram ls --json --bus one)" 'j["bus"] + " " + j["path"]')" "one $TRAM_DIR/one"
    expect 1 tram --bus .hidden send --from $A --to $B </dev/null
    has "$err" ".hidden"
}

never_opened() {
    expect 0 tram send --from $A --to 5.5.5.5 </dev/null
    is "$err" "tram send: 5.5.5.5 was never opened on this bus ($TRAM_DIR/default); its messages \
wait until it is"
    tram recv --bus alpha --id 5.5.5.5 --idle-exit 0
    expect 0 tram send --from $A --to 5.5.5.5 </dev/null
    has "$err" "never opened on this bus ($TRAM_DIR/default), but on the bus 'alpha'; --bus chooses"
    tram recv --bus beta --id 5.5.5.5 --idle-exit 0
    expect 0 tram send --from $A --to 5.5.5.5 </dev/null
    has "$err" "but on the buses 'alpha', 'beta'; --bus chooses"
    tram recv --id 5.5.5.5 --idle-exit 0
    expect 0 tram send --from $A --to 5.5.5.5 </dev/null
    is "$err" ""
}

refused_directories() {
    mkdir -m 777 "$work/open"
    chmod 777 "$work/open"
    expect 1 tram send --dir "$work/open" --from $A --to $B </dev/null
    has "$err" "$work/open"
    has "$err" "open to others"
    ln -s "$work/dir" "$work/link"
    expect 1 tram send --dir "$work/link" --from $A --to $B </dev/null
    has "$err" "symbolic link"
}

closed_output() {
    for command in "--help" "ls" "send --help"; do
        # shellcheck disable=SC2086
        tram $command >/dev/full 2>"$work/err" && fail "tram $command: not a word"
        has "$(<"$work/err")" "cannot be"
    done
}

for test in help_of_all help_of_each mistakes no_such_thing which_bus never_opened \
    refused_directories closed_output; do
    $test
    echo "ok $test $SECONDS s"
done
