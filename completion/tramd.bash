# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2207
#
# Completion of tramd(8) for bash: its options are asked of the daemon itself (tramd --help).

_tramd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local tool=${COMP_WORDS[0]/#\~/$HOME}

    COMPREPLY=()
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
    --config | --dir)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$cur"))
        ;;
    --bus) ;;
    *)
        COMPREPLY=($(compgen -W "$("$tool" --help 2>/dev/null |
            sed -n 's/^  \(--[a-z-]*\).*/\1/p')" -- "$cur"))
        ;;
    esac
}

complete -F _tramd tramd
