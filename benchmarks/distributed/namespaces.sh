#!/usr/bin/env bash
# Four workers in network namespaces, each with a link of 1 Gbit/s to a switch, and 1 ms from any of them, or from the
# scheduler, to any other, one-way: real TCP between them. Prints what the links do, then runs `measure`. If the kernel
# has no netem, the switch is a process, link.c. Needs root, iproute2, ping and `pip install ".[dask]"`; without netem
# also a C compiler and /dev/net/tun.
#
#     sudo env PATH="$PATH" benchmarks/distributed/namespaces.sh --interactions 2000000
#     sudo env PATH="$PATH" RATE=100000000 DELAY=0.01 benchmarks/distributed/namespaces.sh ...     # bits a second, seconds
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"  # the workers import benchmarks.distributed.calibrate
workers=${WORKERS:-4}
rate=${RATE:-1000000000}
delay=${DELAY:-0.001}
mtu=32000  # the process is busy for 30 us with a packet
scheduler=10.213.0.100
own=alternant0  # the interface of the scheduler and the driver
temporary=$(mktemp -d)
started=()
switch=

finish() {
    for process in "${started[@]}"; do kill "$process" 2> /dev/null || true; done
    wait "${started[@]}" 2> /dev/null || true
    if [ "$switch" ]; then
        kill "$switch" 2> /dev/null || true
        wait "$switch" || true
    fi
    for number in $(seq "$workers"); do
        ip link del "alt$number" 2> /dev/null || true
        ip netns del "alternant$number" 2> /dev/null || true
    done
    ip link del "$own" 2> /dev/null || true
    rm -rf "$temporary"
}
trap finish EXIT

within() {  # not for what runs in the background: $! would be a shell's
    ip netns exec "alternant$1" "${@:2}"
}

limit() {  # the rate of what leaves by an interface: limit INTERFACE [within NUMBER]
    "${@:2}" tc qdisc add dev "$1" root handle 1: tbf rate "$rate" burst 256kb latency 50ms
}

slow() {  # its delay, after its rate
    "${@:2}" tc qdisc add dev "$1" parent 1: handle 2: netem delay "${delay}s" limit 100000
}

connect_by_bridge() {
    ip link add "$own" type bridge
    for number in $(seq "$workers"); do
        ip link add "alt$number" type veth peer name eth0 netns "alternant$number"
        ip link set "alt$number" master "$own" up
        limit "alt$number"
    done
}

connect_by_process() {
    local devices=("$own" "$scheduler")
    cc -O2 -Wall -Wextra -Werror -o "$temporary/link" benchmarks/distributed/link.c
    for number in $(seq "$workers"); do devices+=("alt$number" "10.213.0.$number"); done
    mkfifo "$temporary/says"
    "$temporary/link" "$rate" "$delay" "${devices[@]}" > "$temporary/says" &
    switch=$!
    read -r < "$temporary/says" || exit 1
    ip link set "$own" mtu "$mtu"
    for number in $(seq "$workers"); do
        ip link set "alt$number" mtu "$mtu" netns "alternant$number" name eth0
    done
}

for number in $(seq "$workers"); do ip netns add "alternant$number"; done
if within 1 tc qdisc add dev lo root netem delay 1ms 2> /dev/null; then
    within 1 tc qdisc del dev lo root
    kind=bridge
else
    kind=process
fi
"connect_by_$kind"
ip addr add "$scheduler/24" dev "$own"
ip link set "$own" up
limit "$own"
for number in $(seq "$workers"); do
    ip -n "alternant$number" addr add "10.213.0.$number/24" dev eth0
    ip -n "alternant$number" link set eth0 up
    ip -n "alternant$number" link set lo up
    limit eth0 within "$number"
    [ "$kind" = process ] || slow eth0 within "$number"
done
[ "$kind" = process ] || slow "$own"

within 2 ping -q -c 20 -i 0.05 10.213.0.1 >&2
ip netns exec alternant1 python -m benchmarks.distributed.network 10.213.0.1 &
started+=($!)
sleep 2
within 2 python -m benchmarks.distributed.network 10.213.0.1 --send 500000000 >&2

dask scheduler --host "$scheduler" --port 8786 --no-dashboard > /dev/null 2>&1 &
started+=($!)
interfaces=()
for number in $(seq "$workers"); do
    ip netns exec "alternant$number" dask worker "tcp://$scheduler:8786" --nthreads 1 --no-dashboard \
        --host "10.213.0.$number" > /dev/null 2>&1 &
    started+=($!)
    interfaces+=("$!/eth0")
done
python -m benchmarks.distributed.measure --scheduler "tcp://$scheduler:8786" --workers "$workers" --shards "$workers" \
    --bandwidth $((rate / 8)) --delay "$delay" --network "${interfaces[@]}" "$@"
