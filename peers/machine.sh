#!/bin/sh
# Runs as root inside script/test-machine's virtual machine, from the disk that has the package: tries what an operator
# meets with Debian's tor@default.service and AppArmor profile, prints what tor and the kernel logged, and checks it.
# The exit status is the number of claims that failed.
# shellcheck disable=SC2016,SC2317

failed=0
claim() { # claim SENTENCE COMMAND...
    sentence=$1
    shift
    if "$@" >/dev/null 2>&1; then result=seen; else result="NOT SEEN" failed=$((failed + 1)); fi
    printf '%-8s  %s\n' "$result" "$sentence"
}

logged() { journalctl --after-cursor="$cursor" -o cat | grep -q -- "$1"; }
denied() { journalctl --after-cursor="$cursor" -k -o cat | grep 'apparmor="DENIED"' | grep -q -- "$1"; }
allowed() { ! denied 'comm="obfs\(proxy\|stats\)"'; }
starts() { logged 'Registered server transport'; }
value() { [ "$(sysctl -n "$1")" = "$2" ]; }
locked_kib() { sed -n 's/^VmLck:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$(pgrep -o -f 'obfsproxy.* managed')/status"; }
locks() { [ "$(locked_kib)" -ge "$1" ]; }

# bridge PLUGIN ADDRESS: restart tor with these, until the program has answered.
bridge() {
    systemctl stop tor@default
    systemctl reset-failed tor@default 2>/dev/null
    printf '%s\n' 'BridgeRelay 1' 'ORPort 127.0.0.1:9001' 'ExtORPort auto' 'AssumeReachable 1' 'PublishServerDescriptor 0' \
        "ServerTransportPlugin $1" "ServerTransportListenAddr ${1%% *} $2" >/etc/tor/torrc
    printf '\n%s, at %s\n' "$1" "$2"
    cursor=$(journalctl -n 1 --show-cursor -o cat | sed -n 's/^-- cursor: //p')
    systemctl start tor@default
    for _ in $(seq 90); do
        logged "Registered server transport\|couldn't understand\|method error\|terminated with status" && break
        sleep 1
    done
    # What the program logs after its first tick.
    sleep 3
    {
        journalctl --after-cursor="$cursor" -o cat -t Tor | grep -E '[Mm]anaged proxy|Registered' | sed 's/ having PID [0-9]*//'
        journalctl --after-cursor="$cursor" -k -o cat | sed -n 's/.*\(apparmor="DENIED"\) \(.*\) pid=.*/\1 \2/p'
    } | sort -u | cut -c 1-200 | sed 's/^/          | /'
}

unit() { # unit LINE...: further lines of tor@default.service
    mkdir -p /etc/systemd/system/tor@default.service.d
    printf '%s\n' '[Service]' "$@" >/etc/systemd/system/tor@default.service.d/test.conf
    systemctl daemon-reload
}

uname -r
tor --version | head -n 1
sysctl -q kernel.printk_ratelimit=0
printf '\nthe package was installed before the first boot\n'
claim "systemd applied /usr/lib/sysctl.d at boot" value net.ipv4.tcp_no_metrics_save 1
claim "AppArmor enforces system_tor" sh -c 'aa-status | grep -q system_tor'

bridge 'obfs3 exec /usr/bin/obfsproxy managed' 127.0.0.1:8443
claim "tor's profile as Debian has it refuses the program" denied /usr/libexec/obfstats/obfsproxy
bridge 'obfs4 exec /usr/bin/obfstats wrap -- /usr/bin/obfs4proxy' 127.0.0.1:8444
claim "and the wrap" denied /usr/bin/obfstats

echo 'include if exists <abstractions/obfstats>' >>/etc/apparmor.d/local/system_tor
claim "the line in local/system_tor parses" apparmor_parser -r /etc/apparmor.d/system_tor
bridge 'obfs3 exec /usr/bin/obfsproxy --publish /var/lib/tor/obfsproxy-stats --submit https://collector.example managed' 127.0.0.1:8443
claim "with it the program starts" starts
claim "the kernel denies our programs nothing" allowed
claim "the key was written" test -s /var/lib/tor/pt_state/submit.key
claim "the secret's page is locked" locks 4
bridge 'obfs4 exec /usr/bin/obfstats wrap -- /usr/bin/obfs4proxy' 127.0.0.1:8444
claim "the wrap starts" starts
claim "the kernel denies our programs nothing" allowed

bridge 'obfs3 exec /usr/bin/obfsproxy managed' 0.0.0.0:443
claim "port 443 is refused" logged 'cannot listen on 0.0.0.0:443: Permission denied'
python=$(readlink -f /usr/bin/python3)
setcap cap_net_bind_service=+ep "$python"
bridge 'obfs3 exec /usr/bin/obfsproxy managed' 0.0.0.0:443
claim "a capability of the program's file does not change that (NoNewPrivileges)" logged 'cannot listen on 0.0.0.0:443: Permission denied'
setcap -r "$python"
sysctl net.ipv4.ip_unprivileged_port_start=443
bridge 'obfs3 exec /usr/bin/obfsproxy managed' 0.0.0.0:443
claim "net.ipv4.ip_unprivileged_port_start does" starts

# The table of the clients' hashes is made with the first client that is counted, and of several networks one is counted
# soon. The transport dummy has no handshake.
aggregate='dummy exec /usr/bin/obfsproxy --publish /var/lib/tor/obfsproxy-stats --aggregate managed'
count_clients() {
    for network in 0 1 2 3; do
        echo | timeout 3 socat -u - "TCP:127.0.0.1:8443,bind=127.0.$network.1"
    done
    for _ in $(seq 90); do
        logged 'the kernel does not lock memory' || locks 388 && break
        sleep 1
    done
    echo "          | locked: $(locked_kib) KiB"
}
bridge "$aggregate" 127.0.0.1:8443
count_clients
claim "systemd's default lets --aggregate lock its first table" locks 388
unit LimitMEMLOCK=64K
bridge "$aggregate" 127.0.0.1:8443
count_clients
claim "LimitMEMLOCK=64K does not, and the program says so" logged 'the kernel does not lock memory'
unit LimitMEMLOCK=64M
bridge "$aggregate" 127.0.0.1:8443
count_clients
claim "LimitMEMLOCK=64M does" locks 388

printf '\nthe kernel and its peers\n'
ip netns add far
ip link add near type veth peer name far netns far
ip addr add 192.0.2.1/24 dev near
ip link set near up
ip -n far addr add 192.0.2.2/24 dev far
ip -n far link set far up
serve() {
    ip tcp_metrics flush
    for _ in 1 2 3; do
        socat TCP-LISTEN:7000,reuseaddr SYSTEM:'head -c 300000 /dev/zero' &
        sleep 1
        ip netns exec far socat -u TCP:192.0.2.1:7000 /dev/null
        wait
    done
}
kept() { ip tcp_metrics show | grep -q 192.0.2.2; }
serve
claim "with net.ipv4.tcp_no_metrics_save at 1 it keeps no address" sh -c '! ip tcp_metrics show | grep -q 192.0.2.2'
sysctl -q net.ipv4.tcp_no_metrics_save=0
serve
claim "with 0 it keeps the client's" kept
claim "a new network namespace begins with 0" sh -c '[ "$(ip netns exec far sysctl -n net.ipv4.tcp_no_metrics_save)" = 0 ]'
exit "$failed"
