#!/usr/bin/env bash
# Starts one run as several processes on this machine, each with its own simulated CPU devices:
#
#   launch/local.sh NUM_PROCESSES DEVICES_PER_PROCESS avssl pretrain --config ... --workdir ...
#
# Every line of output carries the number of its process. SIGTERM and SIGINT go to all processes.
# Exit code: 0 if all ended with 0; 75 if some did and the others with 0; else 1, the rest stopped, and which
# process it was, and how it ended, is said.

if [[ $# -lt 3 || ! $1 =~ ^[1-9][0-9]*$ || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: ${0##*/} NUM_PROCESSES DEVICES_PER_PROCESS COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
num_processes=$1
devices=$2
shift 2
# More than a process takes to notice that another is gone, and to say so (avssl/train/peers.py).
stop_seconds=${AVSSL_STOP_SECONDS:-40}

free_port() {
    local port
    while true; do
        # Below the range that systems give to outgoing connections.
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

label() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        printf '[%s] %s\n' "$1" "$line"
    done
}

send() {
    local pid
    for pid in "${running[@]}"; do
        kill "-$1" "$pid"
    done
}

# Moves what has ended out of `running`, and its exit code into `codes`.
collect() {
    local pid code still=()
    for pid in "${running[@]}"; do
        if kill -0 "$pid"; then
            still+=("$pid")
        else
            wait "$pid"
            code=$?
            codes+=("$code")
            tell "$pid" "$code" >&3
        fi
    done
    running=("${still[@]}")
}

# How a process ended that has to be asked after; the others were told to stop because of it.
tell() {
    local process
    [[ $2 == 0 || $2 == 75 || -n $stopping ]] && return
    for process in "${!groups[@]}"; do
        [[ ${groups[process]} == "$1" ]] || continue
        if (($2 > 128)); then
            echo "${0##*/}: process $process was ended by signal $(($2 - 128))"
        else
            echo "${0##*/}: process $process ended with exit code $2"
        fi
    done
}

failed() {
    local code
    for code in "${codes[@]}"; do
        [[ $code == 0 || $code == 75 ]] || return 0
    done
    return 1
}

pipes=$(mktemp -d)
trap 'rm -rf "$pipes"' EXIT
trap 'send TERM' TERM HUP
trap 'send INT' INT

export AVSSL_COORDINATOR AVSSL_NUM_PROCESSES=$num_processes AVSSL_CPU_DEVICES=$devices
AVSSL_COORDINATOR=127.0.0.1:$(free_port)
running=()
stopping=
codes=()
labels=()
# Job control gives each a process group of its own and the default SIGINT; without it the shell
# would start them with SIGINT ignored, and Ctrl-C would reach the labels too.
set -m
for ((process = 0; process < num_processes; process++)); do
    mkfifo "$pipes/$process.out" "$pipes/$process.err"
    label "$process" <"$pipes/$process.out" &
    labels+=("$!")
    label "$process" <"$pipes/$process.err" >&2 &
    labels+=("$!")
    AVSSL_PROCESS_ID=$process "$@" </dev/null >"$pipes/$process.out" 2>"$pipes/$process.err" &
    running+=("$!")
done
groups=("${running[@]}")
set +m
exec 3>&2 2>/dev/null # the shell's own remarks on jobs that a signal ended

while [[ ${#running[@]} -gt 0 ]] && ! failed; do
    sleep 0.2
    collect
done
if [[ ${#running[@]} -gt 0 ]]; then
    stopping=1
    send TERM
    for ((tenth = 0; tenth < 10 * stop_seconds && ${#running[@]} > 0; tenth++)); do
        sleep 0.1
        collect
    done
fi
# What is left, and what it started: a child without a parent would keep the pipes open for ever.
for group in "${groups[@]}"; do
    kill -KILL -- "-$group"
done
wait "${labels[@]}"

failed && exit 1
[[ " ${codes[*]} " == *" 75 "* ]] && exit 75
exit 0
