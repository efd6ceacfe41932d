# First process of the guest on this machine's userland: set the rest up, run
# the command, report how it ended, power off. `cargo xtask vm` writes it into
# the share together with settings.sh (variables) and command.sh (arguments).
#
# It runs in busybox's shell, where `mount` and the like are busybox's own.
share=/run/dnsprobe
. $share/settings.sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM COLUMNS LINES
release=$(uname -r)

# The kernel makes the ports a moment after it found the device, and names them
# after the device's number and theirs. Each can be opened only once, so the
# command gets pipes and `cat` holds the ports.
until [ -c /dev/vport*p3 ]; do sleep 0.05; done
exec 3>"$(echo /dev/vport*p1)" 4>"$(echo /dev/vport*p2)" 5>"$(echo /dev/vport*p3)"

mkdir -p /dev/pts /dev/shm /run/netns /run/lock /run/pipes /lab /out /var/log/pods
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs pods /var/log/pods
mkdir -p "/lib/modules/$release"
mount --bind "$MODULES" "/lib/modules/$release"
echo /sbin/modprobe >/proc/sys/kernel/modprobe
ip link set lo up
hostname dnsprobe-lab
# The machine's resolver is not reachable, and its file may be a dangling link.
rm -f /etc/resolv.conf
: >/etc/resolv.conf
mount --bind $share/out /out
cp -R $share/lab/. /lab/
for program in dnsprobe lab; do
    [ -e "$PROGRAMS/$program" ] && ln -sf "$PROGRAMS/$program" /usr/local/bin/$program
done

# Before the clock source is the TSC, each reading costs thousands of
# instructions, which an instruction-counted guest would measure.
if [ "$WAIT_FOR_TSC" = 1 ]; then
    source=/sys/devices/system/clocksource/clocksource0/current_clocksource
    until [ "$(cat $source)" = tsc ]; do sleep 0.2; done
fi

mkfifo /run/pipes/out /run/pipes/err
cat /run/pipes/out >&3 &
out=$!
cat /run/pipes/err >&4 &
err=$!
# The machine's shell starts the command: busybox's would take `ip` for its own.
if [ "$TERMINAL" = 1 ]; then
    # A pseudo-terminal, so that the command refreshes in place.
    printf 'stty rows %s cols %s\n' "$LINES" "$COLUMNS" >/run/pipes/run.sh
    set -- /usr/bin/script -qec '/bin/sh /run/pipes/run.sh' /dev/null
else
    set -- /bin/sh /run/pipes/run.sh
fi
printf '. %s/command.sh\nexec "$@"\n' $share >>/run/pipes/run.sh
cd /lab || exit
read -r up _ </proc/uptime
echo "up $up" >&5
"$@" </dev/null >/run/pipes/out 2>/run/pipes/err 3>&- 4>&- 5>&-
code=$?

# Let the output drain, but do not wait for servers left in the background,
# which hold the pipes open.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 $out 2>/dev/null || kill -0 $err 2>/dev/null || break
    sleep 0.05
done
sync
read -r up _ </proc/uptime
echo "exit $code $up" >&5
echo o >/proc/sysrq-trigger
sleep 60
