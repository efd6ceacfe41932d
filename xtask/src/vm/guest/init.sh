#!/bin/busybox sh
# /init of the guest's initramfs: this machine's root, read-only over 9p, under
# a tmpfs overlay; then on to session.sh.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "init: $module does not load"
done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /host &&
    mount -t tmpfs upper /upper && mkdir /upper/files /upper/work &&
    mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work overlay /new ||
    { echo "init: no root file system"; poweroff -f; }
for part in proc sys dev; do
    mount --move /$part /new/$part
done
# Not the machine's sockets and locks. /tmp stays visible: scripts live there.
mount -t tmpfs run /new/run
mkdir -p /new/run/dnsprobe
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap share /new/run/dnsprobe ||
    { echo "init: no share"; poweroff -f; }
# Busybox goes on: one static program in memory starts many times faster than
# the machine's own over 9p.
cp /bin/busybox /new/run/busybox
exec switch_root /new /run/busybox sh /run/dnsprobe/session.sh
