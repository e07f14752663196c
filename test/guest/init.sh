#!/bin/busybox sh
# The first program of the guest, in its initramfs: puts the host's tree below a layer of its own in
# memory, and goes on there as enter.sh. A failed step ends this shell, so the kernel panics, and
# the guest with it (panic=-1, -no-reboot); what was said before stands in the log of the kernel.
set -e
/bin/busybox mkdir -p /proc /sys /dev /host /own /system
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

while read -r module; do
  insmod "/modules/$module"
done </modules/order

# What the host changes meanwhile may stay unseen: `loose` is what makes ten thousand files bearable.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host
mount -t tmpfs -o size=75% own /own
mkdir /own/upper /own/work
mount -t overlay -o lowerdir=/host,upperdir=/own/upper,workdir=/own/work own /system

for folder in proc sys dev tmp run; do
  mkdir -p "/system/$folder"
done
mount -t tmpfs run /system/run
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm

release=$(uname -r)
modules=$(cat /guest/modules)
if [ -d "/system$modules" ]; then
  mkdir -p "/system/lib/modules/$release"
  mount -o bind "/system$modules" "/system/lib/modules/$release"
fi

ip link set lo up
# Some 60,000 ports for each address that connects, and room for those who come at once.
echo '2000 65535' >/proc/sys/net/ipv4/ip_local_port_range
echo 65535 >/proc/sys/net/core/somaxconn
echo 65535 >/proc/sys/net/ipv4/tcp_max_syn_backlog

mkdir /system/run/guest
cp /guest/job /guest/enter.sh /guest/deadline /system/run/guest/
for port in /sys/class/virtio-ports/*; do
  ln -s "/dev/${port##*/}" "/system/run/guest/$(cat "$port/name")"
done
mount -o move /proc /system/proc
mount -o move /sys /system/sys
mount -o move /dev /system/dev
exec switch_root /system /bin/sh /run/guest/enter.sh
