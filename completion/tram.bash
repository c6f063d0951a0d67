# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2207
#
# Completion of tram(1) for bash. Verbs, options and what they take are asked of the tool itself
# (tram VERB --help), buses and nodes of the directory that they lie in; nothing is listed here that
# would have to be kept up to date.
#
#     . completion/tram.bash        or as bash-completion/completions/tram where those lie

# The words before the cursor: where the bus is, and which verb. Sets bus, dir and verb.
_tram_words() {
    local i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        --bus | --dir)
            [[ ${COMP_WORDS[i + 1]-} == = ]] && ((i++)) # bash takes --bus=x for three words
            ((i++))
            ((i < COMP_CWORD)) && printf -v "${word#--}" %s "${COMP_WORDS[i]}"
            ;;
        -* | help) ;;
        *) [[ -n $verb ]] || verb=$word ;;
        esac
    done
}

# Directories below $1 whose names match $2. Other signs than those of a name never get here: compgen
# would expand them.
_tram_directories() {
    local path
    for path in "$1"/$2/; do
        path=${path%/}
        [[ -d $path && ${path##*/} =~ ^[A-Za-z0-9._-]+$ ]] && printf '%s\n' "${path##*/}"
    done
}

_tram_nodes() {
    _tram_directories "$dir/$bus" '[0-9]*.*.*.*'
}

# What a value called $1 in the help may be; $2 is the line of the help.
_tram_values() {
    case $1 in
    A | B | ID)
        COMPREPLY=($(compgen -W "$(_tram_nodes)" -- "$cur"))
        [[ $verb == send && $prev == --from && ephemeral == "$cur"* ]] && COMPREPLY+=(ephemeral)
        ;;
    NAME) COMPREPLY=($(compgen -W "$(_tram_directories "$dir" '*')" -- "$cur")) ;;
    DIR)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -d -- "$cur"))
        ;;
    FILE)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$cur"))
        ;;
    W | KEY) # one of those that the help names
        [[ $2 =~ (([a-z]+,\ )+[a-z]+\ or\ [a-z]+) ]] || return
        local words=${BASH_REMATCH[1]//, / }
        COMPREPLY=($(compgen -W "${words/ or / }" -- "$cur"))
        ;;
    esac
}

_tram() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=
    local bus=${TRAM_BUS:-default} dir=${TRAM_DIR:-/dev/shm/tram-$EUID}
    local tool=${COMP_WORDS[0]/#\~/$HOME} line inside= options= verbs= usage=

    COMPREPLY=()
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    _tram_words
    while IFS= read -r line; do
        if [[ $line =~ ^\ \ (-.,\ )?(--[a-z-]+)(\ ([A-Z]+))?(\ \ |$) ]]; then
            options+=" ${BASH_REMATCH[2]}"
            if [[ ${BASH_REMATCH[2]} == "$prev" && -n ${BASH_REMATCH[4]} ]]; then
                _tram_values "${BASH_REMATCH[4]}" "$line"
                return
            fi
        fi
        [[ $line == usage:* ]] && usage=$line
        [[ $line == Verbs* ]] && inside=1
        [[ -z $line ]] && inside=
        [[ -n $inside && $line =~ ^\ \ ([a-z]+)\ \  ]] && verbs+=" ${BASH_REMATCH[1]}"
    done < <("$tool" ${verb:+"$verb"} --help 2>/dev/null)
    if [[ $cur == -* ]]; then
        [[ -z $verb ]] && options+=' --version'
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -n $verbs ]]; then
        COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
    elif [[ $usage =~ \ \[?(ID|FILE)(\]|\.\.\.)?$ ]]; then
        _tram_values "${BASH_REMATCH[1]}" ''
    fi
}

complete -F _tram tram
