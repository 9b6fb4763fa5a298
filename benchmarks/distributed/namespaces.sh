#!/usr/bin/env bash
# Four workers in network namespaces, connected by a bridge whose links have 1 Gbit/s and, if the kernel has netem, a
# delay of 1 ms: real TCP between them. Runs `measure` against them. Needs root, iproute2 and `pip install ".[dask]"`.
#
#     sudo env PATH="$PATH" benchmarks/distributed/namespaces.sh --interactions 2000000
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"  # the workers import benchmarks.distributed.calibrate
workers=${WORKERS:-4}
bridge=alternant0
started=()

finish() {
    for process in "${started[@]}"; do kill "$process" 2> /dev/null || true; done
    wait 2> /dev/null || true
    for number in $(seq "$workers"); do
        ip link del "alt$number" 2> /dev/null || true
        ip netns del "alternant$number" 2> /dev/null || true
    done
    ip link del "$bridge" 2> /dev/null || true
}
trap finish EXIT

shape() {  # of what leaves by an interface
    "${@:2}" tc qdisc add dev "$1" root handle 1: tbf rate 1gbit burst 256kb latency 50ms
    if ! "${@:2}" tc qdisc add dev "$1" parent 1: handle 2: netem delay 1ms limit 100000 2> /dev/null; then
        [ "${warned:-}" ] || echo "this kernel has no netem: links have 1 Gbit/s, but no delay" >&2
        warned=1
    fi
}

ip link add "$bridge" type bridge
ip addr add 10.213.0.100/24 dev "$bridge"
ip link set "$bridge" up
dask scheduler --host 10.213.0.100 --port 8786 --no-dashboard > /dev/null 2>&1 &
started+=($!)
interfaces=()
for number in $(seq "$workers"); do
    ip netns add "alternant$number"
    ip link add "alt$number" type veth peer name eth0 netns "alternant$number"
    ip link set "alt$number" master "$bridge" up
    ip -n "alternant$number" addr add "10.213.0.$number/24" dev eth0
    ip -n "alternant$number" link set eth0 up
    ip -n "alternant$number" link set lo up
    shape "alt$number"
    shape eth0 ip netns exec "alternant$number"
    ip netns exec "alternant$number" dask worker tcp://10.213.0.100:8786 --nthreads 1 --no-dashboard \
        --host "10.213.0.$number" > /dev/null 2>&1 &
    started+=($!)
    interfaces+=("alt$number")
done
python -m benchmarks.distributed.measure --scheduler tcp://10.213.0.100:8786 --workers "$workers" --shards "$workers" \
    --bandwidth 1.25e8 --network "${interfaces[@]}" "$@"
