#!/bin/bash
# The second act of the demo: a small game cluster (demo/game.c): gates, game servers ("rooms"), a
# database, tramd, and a topic for the chat. All of them are killed with -9, or told to hand over,
# at random moments, and started again at once, while players buy. Then the account is checked:
# what players were told was booked is in the database's journal, once, with that amount; and there
# is nothing else in it but what players were told nobody knows the end of.
#
#     demo/game.sh        SECONDS_LONG=N for another length, SEED=N for the same dice again;
#                         FORGE=LINE: a line of the journal that nobody asked for, which is found

set -u
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${TRAM_BUILD:-build}/bin
[[ $bin == /* ]] || bin=$root/$bin
length=${SECONDS_LONG:-14}
RANDOM=${SEED:=$((RANDOM + 1))}

die() {
    ((${terminal:-0})) && printf '\n'
    printf 'demo: %s\n' "$*" >&2
    tail -qn 30 "$work/errors" "$work/tramd" >&2
    exit 1
}

[[ -x $bin/game && -x $bin/tramd ]] || {
    printf 'demo: built without services, so there is no second act\n'
    exit 0
}
work=$(mktemp -d /dev/shm/tram-demo-XXXXXX) || exit 1
declare -A pids=() kills=() handed=()
clean_up() {
    [[ $BASHPID == "$$" ]] || return # a child that was killed before it became another program
    kill -KILL "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkfifo "$work/never" || exit 1
exec 3<>"$work/never"
export TRAM_DIR=$work

# --- the cast -------------------------------------------------------------------------------------

servers=('db' 'room 0' 'room 1' 'gate 0' 'gate 1' 'tramd')

start() {
    case $1 in
    tramd) "$bin/tramd" >/dev/null 2>>"$work/tramd" & ;;
    db) "$bin/game" db "$work/journal" >>"$work/said" 2>>"$work/errors" & ;;
    player*) "$bin/game" player "${1#* }" "$work/told${1#* }" >>"$work/said" 2>>"$work/errors" & ;;
    *) "$bin/game" "${1% *}" "${1#* }" >>"$work/said" 2>>"$work/errors" & ;;
    esac
    pids[$1]=$!
}

# Kill -9, or SIGTERM, on which a server hands over; wait for its end, start it again. One that was
# told before it could hear just dies.
restart() {
    local code signal=KILL
    ((RANDOM % 4 > 0)) || signal=TERM
    kill -$signal "${pids[$1]}" 2>/dev/null
    wait "${pids[$1]}" 2>/dev/null
    code=$?
    if [[ $signal == TERM ]]; then
        ((code == 0 || code == 143)) || die "$1 handed over with $code"
        handed[$1]=$((${handed[$1]:-0} + 1))
    else
        ((code == 137)) || die "$1 ended with $code"
        kills[$1]=$((${kills[$1]:-0} + 1))
    fi
    start "$1"
}

# --- the show -------------------------------------------------------------------------------------

terminal=0
[[ -t 1 ]] && terminal=1
: >"$work/journal"
began=${EPOCHREALTIME/./}
elapsed() {
    echo $((${EPOCHREALTIME/./} - began))
}

booked() {
    echo $(($(stat -c %s "$work/journal") / 32))
}

shown_at=0
show() {
    local now
    now=$(elapsed)
    [[ -z ${1:-} ]] && ((now - shown_at < (terminal ? 100000 : 1000000))) && return
    printf -v line '%4d.%d s  killed or handed over %4d  purchases booked %8d' \
        $((now / 1000000)) $((now / 100000 % 10)) $rounds "$(booked)"
    if ((terminal)); then
        printf '\r%s\033[K' "$line"
    else
        printf '%s\n' "$line"
    fi
    shown_at=$now
}

printf 'a game  4 players -> 2 gates -> 2 rooms -> database, and a chat; SEED=%s\n\n' "$SEED"
rounds=0
for name in "${servers[@]}" 'player 0' 'player 1' 'player 2' 'player 3'; do
    start "$name"
done
until (($(cut -c 1-8 "$work/journal" | sort -u | wc -l) == 4)); do # all players are there
    read -rt 0.02 -u 3
    (($(elapsed) < 10000000 * ${TRAM_TIME_SCALE:-1})) || die "not all players bought within 10 s"
done
while (($(elapsed) < length * 1000000)); do
    read -rt "0.$(printf %03d $((20 + RANDOM % 100)))" -u 3
    restart "${servers[RANDOM % ${#servers[@]}]}"
    rounds=$((rounds + 1))
    show
done
for n in 0 1 2 3; do # they wait for the answers that are out
    kill -TERM "${pids[player $n]}"
done
for n in 0 1 2 3; do
    wait "${pids[player $n]}" || die "player $n ended with $?"
    unset "pids[player $n]"
done
show last
((terminal)) && printf '\n'
[[ -z ${FORGE:-} ]] || printf '%s\n' "$FORGE" >>"$work/journal" # is it noticed?

# --- the account ----------------------------------------------------------------------------------

# shellcheck disable=SC2016
check_account='
    FILENAME ~ /journal$/ {
        if (($1, $2) in booked) twice++
        booked[$1, $2] = $3; entries++; total += $3
        next
    }
    $3 == "unknown" { unknown++; if (($1, $2) in booked) { found++; sum_found += booked[$1, $2] } }
    $3 != "unknown" {
        told++; sum += $3
        if (!(($1, $2) in booked)) lost++
        else if (booked[$1, $2] != $3) wrong++
    }
    END {
        print entries + 0, total + 0, told + 0, sum + 0, unknown + 0, found + 0, sum_found + 0,
              twice + 0, lost + wrong + (entries != told + found) + (total != sum + sum_found)
    }'
read -r entries total told sum unknown found sum_found twice wrong < <(
    awk "$check_account" "$work/journal" "$work"/told*)
again=$(grep -c '^db again' "$work/said")
unmarked=$(grep -c '^db unmarked' "$work/said")

printf '\n'
for name in "${servers[@]}"; do
    printf '%-8s killed %3d times, handed over %3d times\n' "$name" "${kills[$name]:-0}" \
        "${handed[$name]:-0}"
done
strange=0
while read -r _ n asked answered lost bought chat missed longest odd; do
    printf 'player %s bought %d times for %d: %d answered, %d unknown; longest wait %d ms; ' "$n" \
        "$asked" "$bought" "$answered" "$lost" "$longest"
    printf 'heard %d lines of chat, missed %d\n' "$chat" "$missed"
    strange=$((strange + odd))
done < <(grep '^player' "$work/said" | sort)
printf 'told    %d purchases, %d coins\n' "$told" "$sum"
printf 'unknown %d purchases, of which %d were booked, %d coins\n' "$unknown" "$found" "$sum_found"
# shellcheck disable=SC2016
awk '$3 == "unknown" { $1 = $2 = $3 = ""; why[$0]++ }
    END { for (reason in why) printf "        %d times%s\n", why[reason], reason }' "$work"/told*
printf 'booked  %d purchases, %d coins; %d came again and were not booked twice\n' "$entries" \
    "$total" "$again"
((told > 0)) || die "nobody was told anything"
((twice == 0)) || die "$twice purchases were booked twice"
((unmarked == 0)) || die "$unmarked came again, and did not say so"
((wrong == 0)) || die "the account is not what players were told"
((strange == 0)) || die "$strange answers or lines of chat were wrong, or missing without a word"
printf 'equal   what players were told is what was booked, each purchase once\n'
